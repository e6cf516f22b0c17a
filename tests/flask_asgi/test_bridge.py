"""Where the code of an application runs, and the lifespan messages that a server gets."""

import asyncio
import contextlib
import contextvars
import threading
import time
from collections.abc import AsyncIterator

import pytest
from blockbuster import BlockingError
from flask import Flask
from flask.views import MethodView
from flask_asgi import FlaskToAsgi

from .asgi_client import Client, ask, both_kinds, http_scope, on_both_paths

pytestmark = pytest.mark.anyio


# Where code runs


async def test_an_async_view_runs_on_the_servers_loop_and_a_sync_view_does_not(app: Flask) -> None:
    both_kinds(app, lambda: str(threading.get_ident()))
    here = str(threading.get_ident()).encode()
    bridge = FlaskToAsgi(app)

    assert (200, here) == await ask(bridge, http_scope("/async"))
    assert (200, here) != await ask(bridge, http_scope("/sync"))


async def test_async_code_called_in_a_thread_is_awaited_on_the_servers_loop(app: Flask) -> None:
    loops = []

    @app.before_request
    async def hook() -> None:
        loops.append(asyncio.get_running_loop())

    class View(MethodView):
        async def get(self) -> str:
            loops.append(asyncio.get_running_loop())
            return "ok"

    app.add_url_rule("/", view_func=View.as_view("view"))

    assert (200, b"ok") == await ask(app, http_scope())
    assert [asyncio.get_running_loop()] * 2 == loops


@on_both_paths
async def test_a_context_variable_of_an_async_hook_is_set_in_the_view(
    app: Flask, path: str
) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    @app.before_request
    async def hook() -> None:
        await asyncio.sleep(0)
        variable.set("set")

    both_kinds(app, variable.get)

    assert (200, b"set") == await ask(app, http_scope(path))


async def test_a_blocking_call_in_an_async_view_is_caught(app: Flask) -> None:
    both_kinds(app, lambda: time.sleep(0) or "slept")  # type: ignore[func-returns-value,redundant-expr]
    bridge = FlaskToAsgi(app)

    assert (200, b"slept") == await ask(bridge, http_scope("/sync"))
    with pytest.raises(BlockingError):
        await ask(bridge, http_scope("/async"))


async def test_context_variables_of_a_request_are_not_set_in_the_server(app: Flask) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    both_kinds(app, lambda: [variable.set("set"), "ok"][1])
    bridge = FlaskToAsgi(app)

    await ask(bridge, http_scope("/async"))
    await ask(bridge, http_scope("/sync"))

    assert "unset" == variable.get()


# Lifespan and other scopes


async def test_the_lifespan_is_entered_at_startup_and_left_at_shutdown(app: Flask) -> None:
    events = []

    @contextlib.asynccontextmanager
    async def lifespan(served: Flask) -> AsyncIterator[None]:
        assert served is app
        events.append("entered")
        yield
        events.append("left")

    server = Client(FlaskToAsgi(app, lifespan=lifespan), {"type": "lifespan"})
    server.received.put_nowait({"type": "lifespan.startup"})

    assert {"type": "lifespan.startup.complete"} == await server.next_sent()
    assert ["entered"] == events

    server.received.put_nowait({"type": "lifespan.shutdown"})

    assert {"type": "lifespan.shutdown.complete"} == await server.next_sent()
    assert ["entered", "left"] == events


@contextlib.asynccontextmanager
async def fails_to_start(_app: Flask) -> AsyncIterator[None]:
    message = "no database"
    raise OSError(message)
    yield


@contextlib.asynccontextmanager
async def fails_to_stop(_app: Flask) -> AsyncIterator[None]:
    yield
    message = "no database"
    raise OSError(message)


async def test_a_failing_startup_says_why(app: Flask) -> None:
    server = Client(FlaskToAsgi(app, lifespan=fails_to_start), {"type": "lifespan"})
    server.received.put_nowait({"type": "lifespan.startup"})

    message = "startup failed: OSError: no database"
    assert {"type": "lifespan.startup.failed", "message": message} == await server.next_sent()


async def test_a_failing_shutdown_says_why(app: Flask) -> None:
    server = Client(FlaskToAsgi(app, lifespan=fails_to_stop), {"type": "lifespan"})
    server.received.put_nowait({"type": "lifespan.startup"})
    server.received.put_nowait({"type": "lifespan.shutdown"})
    await server.next_sent()

    message = "shutdown failed: OSError: no database"
    assert {"type": "lifespan.shutdown.failed", "message": message} == await server.next_sent()


async def test_startup_and_shutdown_complete_without_a_lifespan(app: Flask) -> None:
    server = Client(FlaskToAsgi(app), {"type": "lifespan"})
    server.received.put_nowait({"type": "lifespan.startup"})

    assert {"type": "lifespan.startup.complete"} == await server.next_sent()

    server.received.put_nowait({"type": "lifespan.shutdown"})
    await server.done


async def test_a_websocket_is_refused(app: Flask) -> None:
    server = Client(FlaskToAsgi(app), {"type": "websocket"})
    server.received.put_nowait({"type": "websocket.connect"})

    assert "websocket.close" == (await server.next_sent())["type"]


async def test_an_unknown_scope_is_an_error(app: Flask) -> None:
    with pytest.raises(ValueError, match="'telnet'"):
        await Client(FlaskToAsgi(app), {"type": "telnet"}).done
