"""Applications with one ``async def`` view each, registered by a decorator or an extension."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import pydantic
from apiflask import APIFlask, Schema
from apiflask import HTTPBasicAuth as APIFlaskAuth
from apiflask.fields import Integer
from authlib.integrations.flask_oauth2 import ResourceProtector
from authlib.oauth2.rfc6750 import BearerTokenValidator
from flask import Flask
from flask.views import MethodView, View
from flask_asgi import on_loop
from flask_caching import Cache
from flask_compress import Compress
from flask_cors import CORS, cross_origin
from flask_httpauth import HTTPBasicAuth, HTTPTokenAuth
from flask_jwt_extended import JWTManager, create_access_token, jwt_required
from flask_limiter import Limiter
from flask_login import LoginManager, UserMixin, login_required
from flask_openapi.openapi import OpenAPI
from flask_principal import Identity, Permission, Principal, UserNeed
from flask_pydantic import validate
from flask_restx import Api as RestxApi
from flask_restx import Resource
from flask_smorest import Api, Blueprint
from flask_talisman import Talisman
from flask_wtf import CSRFProtect
from prometheus_client import CollectorRegistry
from prometheus_flask_exporter import PrometheusMetrics
from webargs import fields
from webargs.flaskparser import use_args, use_kwargs

from .live import place

PASSWORD = "not a secret"  # noqa: S105 - it is not
ANSWER = {"size": 7}

AsyncView = Callable[..., Awaitable[Any]]
AnyView = Callable[..., Any]


def nothing(view: AnyView) -> Any:
    """A decorator that changes nothing."""
    return view


class Watched(Flask):
    """Notes where Flask calls its views: a decorator that blocks does so there."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.secret_key = PASSWORD
        self.places: list[str] = []
        self.headers: dict[str, str] = {}

    @on_loop
    def dispatch_request(self) -> Any:
        self.places.append(place())
        return super().dispatch_request()


class WatchedAPIFlask(Watched, APIFlask):
    """The same for APIFlask, whose own method is not marked."""

    def dispatch_request(self) -> Any:
        return super().dispatch_request()

    dispatch_request.__module__ = APIFlask.dispatch_request.__module__


class WatchedOpenAPI(Watched, OpenAPI):
    """The same for flask-openapi."""


async def view(*_args: Any, **_values: Any) -> dict[str, int]:
    await asyncio.sleep(0)
    return ANSWER


def sync_view(*_args: Any, **_values: Any) -> dict[str, int]:
    return ANSWER


class Make(Protocol):
    """Makes an application.

    Args:
        view: the view at ``/sizes``, if it can be chosen.
        outer: a wrapper around the decorated view.
    """

    __name__: str

    def __call__(self, view: AnyView = ..., outer: Callable[[AnyView], Any] = ...) -> Watched: ...


MADE: dict[str, Make] = {}  # in the order of this module


def made(make: Make) -> Make:
    """Adds to `MADE`."""
    MADE[make.__name__] = make
    return make


def plain(decorate: Callable[[Watched], Any]) -> Make:
    """An application whose view has the decorator that `decorate` makes."""

    @made
    @functools.wraps(decorate)
    def make(view: AnyView = view, outer: Callable[[AnyView], Any] = nothing) -> Watched:
        app = Watched(__name__)
        app.add_url_rule("/sizes", view_func=outer(decorate(app)(view)))
        return app

    return make


# No extension


@plain
def no_decorator(_app: Watched) -> Any:
    return nothing


@plain
def functools_wraps(_app: Watched) -> Any:
    def decorate(view: AsyncView) -> Any:
        @functools.wraps(view)
        def call(*args: Any, **values: Any) -> Any:
            return view(*args, **values)

        return call

    return decorate


@made
def method_view(view: AnyView = view, outer: Callable[[AnyView], Any] = nothing) -> Watched:
    app = Watched(__name__)
    sizes: Any = type("Sizes", (MethodView,), {"get": view})
    app.add_url_rule("/sizes", view_func=outer(sizes.as_view("sizes")))
    return app


@made
def class_based_view(view: AnyView = view, outer: Callable[[AnyView], Any] = nothing) -> Watched:
    app = Watched(__name__)
    sizes: Any = type("Sizes", (View,), {"dispatch_request": view})
    app.add_url_rule("/sizes", view_func=outer(sizes.as_view("sizes")))
    return app


# Authentication


@plain
def login_login_required(app: Watched) -> Any:
    manager = LoginManager(app)
    manager.request_loader(lambda _: UserMixin())
    return login_required


@plain
def jwt_extended_jwt_required(app: Watched) -> Any:
    app.config["JWT_SECRET_KEY"] = 4 * PASSWORD
    JWTManager(app)
    with app.app_context():
        app.headers["Authorization"] = f"Bearer {create_access_token('7')}"
    return jwt_required()


@plain
def httpauth_basic(app: Watched) -> Any:
    auth = HTTPBasicAuth()
    auth.verify_password(lambda name, password: name if password else None)
    app.headers["Authorization"] = "Basic Nzo3"
    return auth.login_required


@plain
def httpauth_token(app: Watched) -> Any:
    auth = HTTPTokenAuth()
    auth.verify_token(lambda token: token)
    app.headers["Authorization"] = "Bearer 7"
    return auth.login_required


@plain
def principal_require(app: Watched) -> Any:
    principal = Principal(app, use_sessions=False)
    principal.identity_loader(identity)
    return Permission(UserNeed(7)).require()


def identity() -> Identity:
    seven = Identity(7)
    seven.provides.add(UserNeed(7))
    return seven


class Validator(BearerTokenValidator):
    """Accepts any token."""

    def authenticate_token(self, token_string: str) -> str:
        return token_string

    def validate_token(self, *_: object) -> None:
        """Accept it."""


@plain
def authlib_resource_protector(app: Watched) -> Any:
    require = ResourceProtector()
    require.register_token_validator(Validator())
    app.headers["Authorization"] = "Bearer 7"
    return require()


# Rate limits, caches, CORS and other headers


@plain
def limiter_limit(app: Watched) -> Any:
    return Limiter(lambda: "all", app=app, storage_uri="memory://").limit("100/minute")


@plain
def limiter_exempt(app: Watched) -> Any:
    return Limiter(lambda: "all", app=app, storage_uri="memory://", default_limits=["1/day"]).exempt


@plain
def limiter_default_limits(app: Watched) -> Any:
    Limiter(lambda: "all", app=app, storage_uri="memory://", default_limits=["100/minute"])
    return nothing


@plain
def caching_cached(app: Watched) -> Any:
    return Cache(app, config={"CACHE_TYPE": "SimpleCache"}).cached()


@plain
def cors_cross_origin(_app: Watched) -> Any:
    return cross_origin()


@plain
def cors_for_all(app: Watched) -> Any:
    CORS(app)
    return nothing


@plain
def compress_compressed(app: Watched) -> Any:
    app.config["COMPRESS_REGISTER"] = False
    return Compress(app).compressed()


@plain
def compress_for_all(app: Watched) -> Any:
    Compress(app)
    return nothing


@plain
def csrf_exempt(app: Watched) -> Any:
    return CSRFProtect(app).exempt


@plain
def talisman_decorator(app: Watched) -> Any:
    return Talisman(app, force_https=False)(frame_options="DENY")


@plain
def talisman_for_all(app: Watched) -> Any:
    Talisman(app, force_https=False)
    return nothing


@plain
def prometheus_counter(app: Watched) -> Any:
    metrics = PrometheusMetrics(app, registry=CollectorRegistry())
    return metrics.counter("sizes", "Sizes asked for.")


@plain
def prometheus_do_not_track(app: Watched) -> Any:
    return PrometheusMetrics(app, registry=CollectorRegistry()).do_not_track()


@plain
def prometheus_for_all(app: Watched) -> Any:
    PrometheusMetrics(app, registry=CollectorRegistry())
    return nothing


# Inputs and outputs of a view


class Size(Schema):
    """The query and the answer."""

    size = Integer()


class SizeModel(pydantic.BaseModel):
    """The query and the answer."""

    size: int = 7


@plain
def webargs_use_args(_app: Watched) -> Any:
    return use_args({"size": fields.Int()}, location="query")


@plain
def webargs_use_kwargs(_app: Watched) -> Any:
    return use_kwargs({"size": fields.Int()}, location="query")


async def typed_view(query: SizeModel) -> dict[str, int]:
    await asyncio.sleep(0)
    return query.model_dump()


@made
def pydantic_validate(
    view: AnyView = typed_view, outer: Callable[[AnyView], Any] = nothing
) -> Watched:
    app = Watched(__name__)
    app.add_url_rule("/sizes", view_func=outer(validate()(view)))
    return app


def smorest(decorate: Callable[[Blueprint], Any]) -> Make:
    """An application whose view has a decorator of a blueprint of flask-smorest."""

    @made
    @functools.wraps(decorate)
    def make(view: AnyView = view, outer: Callable[[AnyView], Any] = nothing) -> Watched:
        app = Watched(__name__)
        app.config.update(API_TITLE="Sizes", API_VERSION="1", OPENAPI_VERSION="3.1.0")
        blueprint = Blueprint("sizes", __name__)
        blueprint.route("/sizes")(outer(decorate(blueprint)(view)))
        Api(app).register_blueprint(blueprint)
        return app

    return make


@smorest
def smorest_route(_blueprint: Blueprint) -> Any:
    return nothing


@smorest
def smorest_response(blueprint: Blueprint) -> Any:
    return blueprint.response(200, Size)


@smorest
def smorest_arguments(blueprint: Blueprint) -> Any:
    return blueprint.arguments(Size, location="query")


def apiflask(decorate: Callable[[WatchedAPIFlask], Any]) -> Make:
    """An application of APIFlask whose view has one of its decorators."""

    @made
    @functools.wraps(decorate)
    def make(view: AnyView = view, outer: Callable[[AnyView], Any] = nothing) -> Watched:
        app = WatchedAPIFlask(__name__)
        app.get("/sizes")(outer(decorate(app)(view)))
        return app

    return make


@apiflask
def apiflask_get(_app: WatchedAPIFlask) -> Any:
    return nothing


@apiflask
def apiflask_input(app: WatchedAPIFlask) -> Any:
    return app.input(Size, location="query")


@apiflask
def apiflask_output(app: WatchedAPIFlask) -> Any:
    return app.output(Size)


@apiflask
def apiflask_auth_required(app: WatchedAPIFlask) -> Any:
    auth = APIFlaskAuth()
    auth.verify_password(lambda name, password: name if password else None)
    app.headers["Authorization"] = "Basic Nzo3"
    return app.auth_required(auth)


@made
def openapi_get(view: AnyView = typed_view, outer: Callable[[AnyView], Any] = nothing) -> Watched:
    app = WatchedOpenAPI(__name__)
    app.get("/sizes")(outer(view))
    return app


@made
def restx_resource(view: AnyView = view, outer: Callable[[AnyView], Any] = nothing) -> Watched:
    app = Watched(__name__)
    resource = type("Sizes", (Resource,), {"get": outer(view)})
    RestxApi(app).add_resource(resource, "/sizes")
    return app
