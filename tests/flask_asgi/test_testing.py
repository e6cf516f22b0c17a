"""`serve_in_thread` serves as in production, for as long as its block lasts."""

import asyncio
import contextvars
import socket
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
import uvicorn
from flask import Flask
from flask_asgi import FlaskToAsgi, Lifespan, RunningServer, Server, serve_in_thread

CLIENTS = 4


class Application:
    """An application that shows where it runs, and its lifespan."""

    def __init__(self) -> None:
        self.loops: list[asyncio.AbstractEventLoop] = []
        self.is_open = False
        self.inside = 0
        self.all_inside = asyncio.Event()
        app = Flask(__name__)

        @app.get("/meet")
        async def meet() -> str:
            self.loops.append(asyncio.get_running_loop())
            self.inside += 1
            if self.inside == CLIENTS:
                self.all_inside.set()
            await self.all_inside.wait()
            return "open" if self.is_open else "closed"

        self.asgi = FlaskToAsgi(app, lifespan=Lifespan(self.resource))

    @asynccontextmanager
    async def resource(self, _app: Flask) -> AsyncIterator[None]:
        """Note whether the lifespan is open."""
        self.is_open = True
        yield
        self.is_open = False


def get(server: RunningServer, path: str) -> str:
    with closing(HTTPConnection(urlsplit(server.url).netloc, timeout=20)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def test_requests_run_concurrently_on_one_loop_while_the_lifespan_is_open() -> None:
    application = Application()

    async def loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    with serve_in_thread(application.asgi) as server, ThreadPoolExecutor(CLIENTS) as clients:
        assert list(clients.map(get, [server] * CLIENTS, ["/meet"] * CLIENTS)) == ["open"] * CLIENTS
        assert {server.run(loop())} == set(application.loops)

    assert not application.is_open
    assert not [each for each in threading.enumerate() if each.name == "server"]


def test_an_error_of_a_coroutine_is_raised_in_the_test_and_the_server_runs_on() -> None:
    async def fail(error: BaseException) -> None:
        raise error

    with serve_in_thread(Application().asgi) as server:
        with pytest.raises(ZeroDivisionError):
            server.run(fail(ZeroDivisionError()))
        with pytest.raises(RuntimeError, match=r"SystemExit\(1\) would have ended the server"):
            server.run(fail(SystemExit(1)))

        async def fine() -> str:
            return "fine"

        assert server.run(fine()) == "fine"


def test_a_stopped_server_runs_nothing() -> None:
    with serve_in_thread(Application().asgi) as server:
        address = urlsplit(server.url)

    async def late() -> None: ...

    with pytest.raises(RuntimeError, match=f"the server at {server.url} has stopped"):
        server.run(late())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port), timeout=5)


@pytest.mark.timeout(60)  # less than each of the waits below
def test_the_end_of_the_block_does_not_wait_for_ticks_or_clients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def tick_once(_server: uvicorn.Server) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(uvicorn.Server, "main_loop", tick_once)
    monkeypatch.setattr(Server, "handshake_seconds", 3600)
    monkeypatch.setattr(Server, "on_its_way_seconds", 3600)
    application = Application()

    with serve_in_thread(application.asgi):
        pass

    assert not application.is_open


def test_the_error_of_a_test_ends_the_server() -> None:
    application = Application()

    with pytest.raises(KeyError), serve_in_thread(application.asgi):
        raise KeyError

    assert not application.is_open


def test_a_failed_lifespan_is_an_error_in_the_test() -> None:
    @asynccontextmanager
    async def fails(_app: Flask) -> AsyncIterator[None]:
        raise OSError
        yield

    asgi = FlaskToAsgi(Flask(__name__), lifespan=fails)

    with pytest.raises(RuntimeError, match="the server did not start"), serve_in_thread(asgi):
        pass

    assert not [each for each in threading.enumerate() if each.name == "server"]


def test_any_asgi_application_is_served() -> None:
    seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="clean")

    async def asgi(scope: dict[str, str], receive: object, send: object) -> None:
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()  # type: ignore[operator]
                await send({"type": f"lifespan.{phase}.complete"})  # type: ignore[operator]
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": seen.get().encode()})  # type: ignore[operator]

    with serve_in_thread(asgi) as server:  # type: ignore[arg-type] # plain dicts
        assert get(server, "/") == "clean"
