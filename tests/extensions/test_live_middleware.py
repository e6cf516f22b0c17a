"""Flask's dispatch decides where a view runs, not the URL from the client."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from flask import request
from flask_asgi import on_loop

from .decorated import Watched
from .live import Gate, barrier, live, place

pytestmark = pytest.mark.heavy

CLIENTS = 4

WSGIApp = Callable[[dict[str, Any], Any], Iterable[bytes]]


class HTTPMethodOverrideMiddleware:
    """The example of Flask's documentation."""

    allowed_methods = frozenset(["GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"])
    bodyless_methods = frozenset(["GET", "HEAD", "OPTIONS", "DELETE"])

    def __init__(self, app: WSGIApp) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        method = environ.get("HTTP_X_HTTP_METHOD_OVERRIDE", "").upper()
        if method in self.allowed_methods:
            environ["REQUEST_METHOD"] = method
        if method in self.bodyless_methods:
            environ["CONTENT_LENGTH"] = "0"
        return self.app(environ, start_response)


def override(app: Watched) -> dict[str, Any]:
    """A method in a header; returns the request that reaches the view at ``DELETE /x``."""
    app.wsgi_app = HTTPMethodOverrideMiddleware(app.wsgi_app)  # type: ignore[method-assign]
    return {
        "path": "/x",
        "method": "POST",
        "headers": {"X-HTTP-Method-Override": "DELETE"},
    }


def strip_prefix(app: Watched) -> dict[str, Any]:
    """A part of the path that belongs to a proxy."""
    inner = app.wsgi_app

    def call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith("/v1/"):
            environ["SCRIPT_NAME"] += "/v1"
            environ["PATH_INFO"] = path.removeprefix("/v1")
        return inner(environ, start_response)

    app.wsgi_app = call  # type: ignore[method-assign]
    return {"path": "/v1/x", "method": "DELETE"}


def rewrite_path(app: Watched) -> dict[str, Any]:
    """Another path than the requested one, whose view is of the other kind."""
    inner = app.wsgi_app

    def call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/old":
            environ["PATH_INFO"] = "/x"
        return inner(environ, start_response)

    app.wsgi_app = call  # type: ignore[method-assign]
    return {"path": "/old", "method": "DELETE"}


def nothing(_app: Watched) -> dict[str, Any]:
    """No middleware."""
    return {"path": "/x", "method": "DELETE"}


MIDDLEWARE = (nothing, override, strip_prefix, rewrite_path)


def make_app(view: Callable[[], Any], other: Callable[[], Any]) -> Watched:
    """An application with `view` at ``DELETE /x``, and `other` at the URL that the client sends."""
    app = Watched(__name__)
    app.delete("/x")(view)
    app.add_url_rule("/x", "other", other, methods=["GET", "POST"])
    app.add_url_rule("/old", "old", other, methods=["GET", "POST", "DELETE"])
    return app


async def async_view() -> str:
    await asyncio.sleep(0)
    return "async"


def sync_view() -> str:
    return "sync"


def marked(app: Watched) -> None:
    """Let the application's middleware run on the loop."""
    if "wsgi_app" in vars(app):
        on_loop(app.wsgi_app)


every_middleware = pytest.mark.parametrize("middleware", MIDDLEWARE, ids=lambda each: each.__name__)


@every_middleware
@pytest.mark.parametrize("is_marked", [False, True])
def test_a_blocking_view_runs_in_a_thread(
    middleware: Callable[[Watched], dict[str, Any]], *, is_marked: bool
) -> None:
    meeting = barrier(CLIENTS)

    def blocks() -> str:
        meeting.wait()
        return place()

    app = make_app(blocks, async_view)
    asked = middleware(app)
    if is_marked:
        marked(app)
    with live(app) as server:
        answers = server.at_once(CLIENTS, **asked)

    assert answers == {"200 thread": CLIENTS}


@every_middleware
def test_an_async_view_runs_on_the_loop_behind_marked_middleware(
    middleware: Callable[[Watched], dict[str, Any]],
) -> None:
    app = make_app(async_view, sync_view)
    asked = middleware(app)
    marked(app)
    with live(app) as server:
        answers = server.at_once(1, **asked)

    assert answers == {"200 async": 1}
    assert app.places == ["loop"]


def test_the_loop_answers_requests_while_an_overridden_view_blocks() -> None:
    gate = Gate()

    def blocks() -> str:
        gate.block()
        return request.method

    app = make_app(blocks, async_view)
    asked = override(app)
    with live(app) as server, server.blocked(gate, answer="DELETE", **asked):
        assert server.get("/x").text == "async"
