"""A plain response is rendered with less work, and every response as Werkzeug renders it."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from flask import Flask, Response, request
from flask_asgi._rendering import _OF_WERKZEUG, render_plainly
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import create_environ

from .asgi_client import ask, http_scope

Rendered = tuple[str, list[tuple[str, str]], bytes]

# Bodies of responses. They are functions, so that two equal responses can be made.
BODIES: dict[str, Callable[[], Any]] = {
    "bytes": lambda: b"abc",
    "text": lambda: "é",
    "nothing": lambda: b"",
    "no parts": list,
    "a part of text": lambda: ["é"],
    "a part of bytes": lambda: [b"abc"],
    "several parts": lambda: [b"a", b"", b"bc"],
    "a tuple": lambda: (b"abc",),
    "a generator": lambda: (part for part in [b"a", "é"]),
}
HEADERS = [
    *[("Location", "/é?a=ü"), ("location", "x"), ("Content-Location", "/é")],
    *[("Content-Length", "3"), ("content-length", "2"), ("CONTENT-LENGTH", "9"), ("Allow", "GET")],
    *[("ETag", '"a"'), ("Expires", "0"), ("Set-Cookie", "a=1"), ("set-cookie", "b=2")],
]
PLAIN: dict[str, Any] = {"body": "bytes", "status": 200, "added": [], "removed": False}
MADE = st.fixed_dictionaries(
    {
        "body": st.sampled_from([*BODIES]),
        "status": st.sampled_from([100, 199, 200, 201, 204, 206, 302, 304, 404, 500, 599]),
        "added": st.lists(st.sampled_from(HEADERS), max_size=3),
        "removed": st.booleans(),
    }
)


def made(  # noqa: PLR0913
    *,
    body: str,
    status: int,
    added: Iterable[tuple[str, str]],
    removed: bool,
    direct: bool = False,
    corrects: bool = False,
) -> Response:
    response = Response(BODIES[body](), status, direct_passthrough=direct)
    if removed:
        response.headers.remove("Content-Length")
    for name, value in added:
        response.headers.add(name, value)
    if corrects:
        vars(response)["autocorrect_location_header"] = True
    return response


def rendered(response: Response, method: str = "GET") -> Rendered:
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> Any:
        started.append((status, headers))

    parts = response(create_environ("/a", "http://localhost", method=method), start_response)
    body = b"".join(parts)
    if (close := getattr(parts, "close", None)) is not None:
        close()
    [(status, headers)] = started
    return status, headers, body


@given(
    MADE,
    st.sampled_from(["GET", "HEAD", "POST"]),
    st.booleans(),
    st.booleans(),
)
def test_every_response_is_rendered_as_by_werkzeug(
    parts: dict[str, Any],
    method: str,
    corrects: bool,  # noqa: FBT001
    notes_close: bool,  # noqa: FBT001
) -> None:
    answers = []
    for is_plainly in (False, True):
        response = made(**parts, corrects=corrects)
        closed: list[bool] = []
        if notes_close:
            response.call_on_close(lambda closed=closed: closed.append(True))  # type: ignore[misc]
        if is_plainly:
            render_plainly(response)
        answers.append((rendered(response, method), closed, vars(response).keys()))

    assert answers[0] == answers[1]


@pytest.mark.parametrize("body", ["several parts", "a part of bytes"])
def test_a_direct_passthrough_body_is_rendered_as_by_werkzeug(body: str) -> None:
    parts = PLAIN | {"body": body, "direct": True}
    response = made(**parts)
    render_plainly(response)

    assert rendered(response) == rendered(made(**parts))


@pytest.mark.parametrize("body", ["bytes", "text", "nothing"])
def test_the_body_of_a_plain_response_is_not_wrapped(body: str) -> None:
    response = made(**PLAIN | {"body": body})
    render_plainly(response)

    parts = response(create_environ(), lambda *_: print)

    assert parts is response.response


@pytest.mark.parametrize("name", _OF_WERKZEUG)
@pytest.mark.parametrize("of", ["class", "object"])
def test_a_response_with_overridden_members_is_not_rendered_plainly(name: str, of: str) -> None:
    class Own(Response):
        pass

    response = Own(b"abc")
    own = property(lambda _: "") if isinstance(_OF_WERKZEUG[name], property) else lambda *_: None
    if of == "class":
        setattr(Own, name, own)
    else:
        vars(response)[name] = own
    before = vars(response).copy()

    render_plainly(response)

    assert vars(response) == before


@pytest.mark.parametrize("status", [200, 304])
def test_a_rendered_response_leaves_no_cycle(status: int) -> None:
    response = made(**PLAIN | {"status": status})
    gone = weakref.ref(response)
    gc.disable()
    try:
        render_plainly(response)
        rendered(response)
        del response

        assert gone() is None
    finally:
        gc.enable()


# Through the engine


@pytest.mark.anyio
@pytest.mark.parametrize("is_async", [True, False])
async def test_middleware_sees_and_changes_a_plain_response(app: Flask, *, is_async: bool) -> None:
    wsgi_app = app.wsgi_app

    def middleware(environ: Any, start_response: Any) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            headers[:] = [each for each in headers if each[0] != "Content-Length"]
            headers.append(("X-Seen", status))
            return start_response(status, headers, *more)

        return [part.upper() * 2 for part in wsgi_app(environ, start)]

    vars(app)["wsgi_app"] = middleware
    kept = Response(b"abc")

    async def view() -> Response:
        return kept

    app.add_url_rule("/x", "x", view if is_async else lambda: kept)

    for _ in range(2):  # the view returns the same object again
        assert await ask(app, http_scope("/x")) == (200, b"ABCABC")
    assert kept.headers["Content-Length"] == "3"


def test_a_subclass_of_flask_that_has_its_own_dispatch_gets_the_response() -> None:
    class Own(Flask):
        def wsgi_app(self, environ: Any, start_response: Any) -> Any:
            with self.request_context(environ):
                response = self.full_dispatch_request()
                response.headers["Content-Length"] = "2"  # the engine cuts the body off there
                return response(environ, start_response)

    app = Own("own")

    @app.get("/x")
    async def view() -> str:
        return "abc"

    assert asyncio.run(ask(app, http_scope("/x"))) == (200, b"ab")


@pytest.mark.anyio
async def test_a_test_client_in_a_view_has_its_own_response(app: Flask) -> None:
    @app.get("/inner")
    def inner() -> str:
        return request.path

    @app.get("/outer")
    def outer() -> str:
        return app.test_client().get("/inner").text + request.path

    assert await ask(app, http_scope("/outer")) == (200, b"/inner/outer")


@pytest.mark.anyio
async def test_outside_a_server_responses_are_unchanged(app: Flask) -> None:
    app.add_url_rule("/x", "x", lambda: "abc")

    await ask(app, http_scope("/x"))  # the methods of the application are replaced now
    with app.test_request_context("/x"):
        response = app.full_dispatch_request()

    assert "get_wsgi_response" not in vars(response)
