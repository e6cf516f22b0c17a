"""A pytest plugin that runs the tests of Flask, asgiref and extensions through a bridge.

With ``--through bridge`` it is `FlaskToAsgi`, with ``--through asgiref`` asgiref's
own `WsgiToAsgi`. ``--through bridge-async`` is the former with every view made ``async def``, so
that it runs on the loop. ``--through nothing`` leaves the tests as they are. The outcome of every
test is written as JSON to the file that ``--outcomes`` names. ``--without`` names a fixture; tests
that use it are left out.
"""
# ruff: noqa: ANN401 - WSGI and ASGI pass any type

import asyncio
import contextvars
import functools
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from http import HTTPStatus
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import _pytest.compat
import _pytest.monkeypatch
import asgiref.wsgi
import pytest
import werkzeug.test
from flask import Flask, current_app
from flask_asgi import FlaskToAsgi
from flask_asgi._environ import build_environ
from werkzeug.datastructures import Headers

WAYS = ("nothing", "asgiref", "bridge", "bridge-async")
BODY_PART = 65536

Environ = dict[str, Any]
Message = dict[str, Any]
Response = tuple[list[bytes], str, Headers]

# Keys that a test client passes to the application in the same process; servers do not.
HANDED_OVER = {"werkzeug.debug.preserve_context", "wsgi.errors"}
handed_over: contextvars.ContextVar[Environ] = contextvars.ContextVar("handed_over")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's options."""
    parser.addoption("--through", choices=WAYS, required=True)
    parser.addoption("--outcomes", type=Path, required=True)
    parser.addoption("--without", action="append", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Route the test clients through the bridge."""
    config.addinivalue_line("markers", "asyncio: pytest-asyncio's, whose part this plugin plays")
    config.pluginmanager.register(Outcomes(config.getoption("--outcomes")))
    # Flask 3.1's tests import it from its place in older versions of pytest.
    _pytest.monkeypatch.notset = _pytest.compat.NOTSET  # type: ignore[attr-defined]
    match config.getoption("--through"):
        case "bridge":
            send_requests_through(FlaskToAsgi)
            asgiref.wsgi.WsgiToAsgi = AnyWsgiToAsgi  # type: ignore[assignment,misc]
            asgiref.wsgi.WsgiToAsgiInstance = Instance  # type: ignore[assignment,misc]
        case "bridge-async":
            send_requests_through(FlaskToAsgi, prepare=make_views_async)
        case "asgiref":
            send_requests_through(asgiref.wsgi.WsgiToAsgi)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that need a missing fixture."""
    absent = {*config.getoption("--without")}
    items[:] = [item for item in items if absent.isdisjoint(getattr(item, "fixturenames", ()))]


class Outcomes:
    """Records the outcome of every test: passed, failed, skipped, or failed outside the test."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.outcomes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the outcome of a test; a failure of its set-up or clean-up counts."""
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.nodeid] = report.outcome

    def pytest_sessionfinish(self) -> None:
        """Write the outcomes."""
        self.file.write_text(json.dumps(self.outcomes), encoding="utf-8")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test."""
    if not iscoroutinefunction(pyfuncitem.obj):
        return None
    asyncio.run(pyfuncitem.obj(**pyfuncitem.funcargs))
    return True


# For asgiref's tests


class AnyWsgiToAsgi:
    """A bridge for any WSGI application, in place of a Flask application's `wsgi_app`."""

    def __init__(self, wsgi_application: Any, **options: Any) -> None:
        app = Flask("wsgi")
        app.wsgi_app = wsgi_application  # type: ignore[method-assign]
        self.asgi = FlaskToAsgi(app, **options)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request with messages like asgiref's: the last message is always empty."""

        async def send_as_asgiref_does(message: Any) -> None:
            message.pop("trailers", None)
            if message.get("more_body") is False:
                if message["body"]:
                    await send({**message, "more_body": True})
                message = {"type": message["type"]}
            await send(message)

        await self.asgi(scope, receive, send_as_asgiref_does)


class Instance:
    """The part of asgiref's `WsgiToAsgiInstance` that its tests use."""

    def __init__(self, wsgi_application: None) -> None:
        """Take the argument of asgiref's class."""

    def build_environ(self, scope: Any, body: Any) -> Environ:
        """Return the environ that the bridge makes of a request."""
        environ: Environ = build_environ(scope, body)
        return environ


# For Flask's tests


def send_requests_through(
    make_asgi: Callable[[Flask], Any], prepare: Callable[[Flask], None] | None = None
) -> None:
    """Let test clients call Flask applications over ASGI."""
    run_directly = werkzeug.test.run_wsgi_app

    def run_wsgi_app(app: Any, environ: Environ, buffered: bool = False) -> Any:  # noqa: FBT001, FBT002 - Werkzeug's
        if not isinstance(app, Flask):  # Werkzeug also calls responses
            return run_directly(app, environ, buffered)
        if prepare:
            prepare(app)
        if "asgi" not in app.extensions:
            app.extensions["asgi"] = asgi = make_asgi(app)
            asgi.wsgi_application = with_what_was_handed_over(app)
            if isinstance(asgi, FlaskToAsgi):
                asgi.engine = replace(asgi.engine, wsgi_application=asgi.wsgi_application)
        body, status, headers = answer(app.extensions["asgi"], environ)
        # Without a length it is a stream, as for a client that did not ask for the whole body.
        return body if buffered else iter(body), status, headers

    werkzeug.test.run_wsgi_app = run_wsgi_app


def make_views_async(app: Flask) -> None:
    """Replace every view that is not async by an ``async def`` view."""

    def asynchronous(view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        async def call(**arguments: Any) -> Any:
            await asyncio.sleep(0)
            return current_app.ensure_sync(view)(**arguments)

        return call

    for endpoint, view in app.view_functions.items():
        if not iscoroutinefunction(view):
            app.view_functions[endpoint] = asynchronous(view)


def with_what_was_handed_over(app: Flask) -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application for a test client, which also passes its own keys."""

    def call(environ: Environ, start_response: Any) -> Iterable[bytes]:
        return app(environ | handed_over.get(), start_response)

    return call


def answer(asgi: Any, environ: Environ) -> Response:
    """Return the response of an ASGI application, in the form of Werkzeug's `run_wsgi_app`."""
    sent: list[Message] = []
    body = environ["wsgi.input"]
    start = body.tell() if body.seekable() else None
    more = True

    async def receive() -> Message:
        nonlocal more
        if not more:  # the client stays connected
            await asyncio.Event().wait()
        part = body.read(BODY_PART)
        more = len(part) == BODY_PART
        return {"type": "http.request", "body": part, "more_body": more}

    async def send(message: Message) -> None:
        sent.append(message)

    handed_over.set({name: environ[name] for name in environ if name in HANDED_OVER})
    try:
        asyncio.run(asgi(scope_of(environ), receive, send))
    finally:
        if isinstance(asgi, FlaskToAsgi):
            asgi.engine.threads.close()
        if start is not None:  # after a redirect the client sends its body again
            body.seek(start)
    head, *bodies = sent
    status = HTTPStatus(head["status"])
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head["headers"]]
    parts = [message["body"] for message in bodies if message.get("body")]
    return parts, f"{status} {status.phrase.upper()}", Headers(headers)


def scope_of(environ: Environ) -> dict[str, Any]:
    """Return the ASGI scope that a server would make from this request."""
    root, path = (environ[name].encode("latin-1") for name in ("SCRIPT_NAME", "PATH_INFO"))
    headers = [
        (name.removeprefix("HTTP_").lower().replace("_", "-").encode(), value.encode("latin-1"))
        for name, value in environ.items()
        if name.startswith("HTTP_") or (name in {"CONTENT_TYPE", "CONTENT_LENGTH"} and value)
    ]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": environ["SERVER_PROTOCOL"].removeprefix("HTTP/"),
        "method": environ["REQUEST_METHOD"],
        "scheme": environ["wsgi.url_scheme"],
        "path": (root + path).decode(errors="replace"),
        "raw_path": quote_from_bytes(root + path).encode(),
        "query_string": environ["QUERY_STRING"].encode("latin-1"),
        "root_path": root.decode(),
        "headers": headers,
        "client": (environ["REMOTE_ADDR"], 50000) if "REMOTE_ADDR" in environ else None,
        "server": (environ["SERVER_NAME"], int(environ["SERVER_PORT"])),
    }
