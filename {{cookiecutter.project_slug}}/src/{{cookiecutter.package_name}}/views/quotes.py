"""A priced quote, `POST /quotes`: the example of a typed view with a body, and of a guarded view.

All prices or none: a caller would take a quote with missing lines for the whole.
"""

from decimal import Decimal, localcontext
from typing import Annotated

from flask import Blueprint, Response
from flask_guards import rate_limit, requires
from pydantic import BaseModel, ConfigDict, Field
from typed_views import Body, typed

from ..guards import LIMITED
from ..parts import parts
from ..problems import UPSTREAM_PROBLEMS, upstream_problem
from .prices import MAX_SYMBOLS, Money, Symbol, fetched

bp = Blueprint("quotes", __name__)


class Line(BaseModel):
    """How many of a symbol."""

    model_config = ConfigDict(extra="forbid")

    symbol: Symbol
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]


class QuoteRequest(BaseModel):
    """What is to be priced; a symbol may be in several lines."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"lines": [{"symbol": "AAPL", "quantity": 3}]}]},
    )

    lines: Annotated[list[Line], Field(min_length=1, max_length=MAX_SYMBOLS)]


class PricedLine(Line):
    """A line with its price."""

    price: Money
    amount: Money


class Quote(BaseModel):
    """Every line with its price, in the order of the request, and their total."""

    lines: list[PricedLine]
    total: Money


@bp.post("/quotes")
@requires("quotes:write")
@rate_limit(lambda: parts().settings.quotes_limit)
@typed(security={"bearer": ["quotes:write"]}, problems=(LIMITED, *UPSTREAM_PROBLEMS))
async def quote(wanted: Annotated[QuoteRequest, Body()]) -> Quote | Response:
    """Price a list of symbols and quantities.

    The prices are fetched at once, each symbol's once. When one cannot be fetched, there is no
    quote.
    """
    result = await fetched(line.symbol for line in wanted.lines)
    if result.failed:
        missing = ", ".join(result.failed)
        return upstream_problem(result.failed.values(), f"No price could be fetched of {missing}.")
    return _priced(wanted, result.arrived)


def _priced(wanted: QuoteRequest, prices: dict[str, Decimal]) -> Quote:
    with localcontext(prec=40):  # a price may have 24 digits, and the default keeps only 28
        lines = [
            PricedLine(
                symbol=line.symbol,
                quantity=line.quantity,
                price=prices[line.symbol],
                amount=prices[line.symbol] * line.quantity,
            )
            for line in wanted.lines
        ]
        return Quote(lines=lines, total=sum((line.amount for line in lines), Decimal()))
