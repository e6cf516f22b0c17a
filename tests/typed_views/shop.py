"""An application with a typed view of every kind."""

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from flask import Blueprint, Flask, Response, current_app
from flask.views import MethodView
from flask_asgi import StrictProvider, StrictRequest, init_problems, on_loop, problem
from pydantic import BaseModel, ConfigDict, Field
from typed_views import Body, Form, Header, InvalidRequest, Problem, Query, describe, typed

Sku = Annotated[str, Field(pattern="^[A-Z]{1,5}$")]

SLOW_DOWN = Problem(
    429,
    "Too many requests came from this caller.",
    headers={"Retry-After": "The seconds to wait."},
)
GONE = Problem(404, "There is no such thing.", kind="urn:problem-type:no-thing")
FAILED = Problem(500, "The service failed.")

# The security scheme of a service.
BEARER = {"bearer": {"type": "http", "scheme": "bearer"}}


class Item(BaseModel):
    """A line of an order."""

    model_config = ConfigDict(extra="forbid")

    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=100)]
    due: dt.date | None = None


class Card(BaseModel):
    """A payment by card."""

    kind: Literal["card"]
    number: Annotated[str, Field(pattern="^[0-9]{4}$")]


class Invoice(BaseModel):
    """A payment by invoice."""

    kind: Literal["invoice"]


class Order(BaseModel):
    """An order."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"items": [{"sku": "TEA", "quantity": 2}]}]},
    )

    items: Annotated[list[Item], Field(min_length=1, max_length=20)]
    payment: Card | Invoice | None = None


class Receipt(BaseModel):
    """The receipt of an order."""

    id: int
    order: Order
    total: Decimal


class Filters(BaseModel):
    """The filters of the list of things."""

    tag: Annotated[list[Sku], Field(max_length=5)] = []
    limit: Annotated[int, Field(ge=1, le=50, description="How many at most.")] = 10
    page_token: Annotated[str | None, Field(alias="page-token", max_length=9)] = None


class Login(BaseModel):
    """A form."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    age: Annotated[int, Field(ge=0)] = 0
    roles: list[Literal["admin", "user"]] = []


bp = Blueprint("shop", __name__)


@bp.post("/shops/<int:shop>/orders")
@typed(status=201, problems=[SLOW_DOWN], security={"bearer": ["orders:write"]})
async def place_order(
    shop: int,
    order: Annotated[Order, Body()],
    dry_run: Annotated[Literal["yes", "no"], Query()] = "no",
    x_tenant: Annotated[str, Header()] = "nobody",
) -> tuple[Receipt, dict[str, str]]:
    """Place an order.

    The receipt has no price of a dry run.
    """
    total = Decimal(0) if dry_run == "yes" else Decimal(len(order.items))
    return Receipt(id=shop, order=order, total=total), {"X-Tenant": x_tenant}


@bp.get("/items/<sku>")
@typed(problems=[GONE])
def item(sku: Sku, quantity: Annotated[int, Query()] = 1) -> Item | Response:
    """Look an item up."""
    if sku == "GONE":
        return problem(404, "There is no such thing.", kind=GONE.kind)
    return Item(sku=sku, quantity=min(max(quantity, 1), 100))


@bp.get("/things")
@typed()
async def things(filters: Annotated[Filters, Query()]) -> list[str]:
    """List things."""
    return filters.tag[: filters.limit]


@bp.post("/login")
@typed()
def login(form: Annotated[Login, Form()]) -> dict[str, int]:
    """Log in."""
    return {form.name: form.age}


class Things(MethodView):
    """A thing."""

    @typed(problems=[GONE])
    async def get(self, thing: UUID) -> str | Response:
        """Show a thing. Every thing exists until it is removed."""
        if thing in _removed():
            return problem(404, "There is no such thing.", kind=GONE.kind)
        return str(thing)

    @typed()
    def delete(self, thing: UUID) -> None:
        """Remove a thing."""
        _removed().add(thing)

    @typed()
    async def put(self, thing: UUID, number: Annotated[list[float], Body()]) -> float:
        """Change or create a thing."""
        _removed().discard(thing)
        return sum(number[:3])


def _removed() -> set[UUID]:
    removed: set[UUID] = current_app.extensions.setdefault(__name__, set())
    return removed


bp.add_url_rule("/things/<uuid:thing>", view_func=Things.as_view("thing"))


@bp.get("/untyped")
async def untyped() -> dict[str, str]:
    """Answer without types."""
    return {}


@on_loop
def _invalid(error: InvalidRequest) -> Response:
    return problem(422, str(error.description), kind=error.kind, errors=error.errors)


def create_app() -> Flask:
    """Return the application, with errors as problems and strict JSON, as in a service."""
    app = Flask(__name__)
    app.json, app.request_class = StrictProvider(app), StrictRequest
    init_problems(app)
    app.register_error_handler(InvalidRequest, _invalid)
    app.register_blueprint(bp)
    return app


def document(app: Flask) -> dict[str, Any]:
    """Return the document of the application."""
    return describe(
        app,
        title="Shop",
        version="1.0.0",
        description="A shop.",
        problems=[FAILED],
        security_schemes=BEARER,
    )
