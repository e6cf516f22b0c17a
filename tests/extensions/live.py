"""Applications served by uvicorn in a thread of the test, so that both can share barriers."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
from asgiref.typing import ASGI3Application
from flask import Flask
from flask_asgi import FlaskToAsgi, RunningServer, serve_in_thread

# Seconds that a barrier or a client waits. Only a failing test waits that long.
PATIENCE = 10.0


class Gate:
    """A place where the code of one request blocks, which the test can detect."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def block(self) -> None:
        """Wait until the gate is opened."""
        self.entered.set()
        self.opened.wait(PATIENCE)


class Live:
    """A running server, and clients of it."""

    def __init__(
        self, server: RunningServer, client: httpx.Client, pool: ThreadPoolExecutor
    ) -> None:
        self.server = server
        self.client = client
        self._pool = pool

    def get(self, path: str, **options: Any) -> httpx.Response:
        """The response to a GET."""
        return self.client.get(path, **options)

    def begin(self, clients: int, path: str = "/", **options: Any) -> list[Future[httpx.Response]]:
        """Sends a request for each client at once, by default GETs; returns their futures."""
        method = options.pop("method", "GET")
        return [
            self._pool.submit(self.client.request, method, path, **options) for _ in range(clients)
        ]

    @contextmanager
    def blocked(self, gate: Gate, path: str, answer: str, **options: Any) -> Iterator[None]:
        """Run the block while a request blocks at `gate`, and expect its answer afterwards."""
        (request,) = self.begin(1, path, **options)
        assert gate.entered.wait(PATIENCE)
        try:
            yield
        finally:
            done_before = request.done()
            gate.opened.set()
        assert request.result().text == answer
        assert not done_before

    def at_once(self, clients: int, path: str = "/", **options: Any) -> Counter[str]:
        """Counts the outcomes of concurrent requests: status and body, or the error."""
        return Counter(map(told, self.begin(clients, path, **options)))

    def open(self, gate: asyncio.Event) -> None:
        """Releases the requests that wait for a gate."""

        async def open_gate() -> None:
            gate.set()

        self.server.run(open_gate())


def told(request: Future[httpx.Response]) -> str:
    """The outcome of a request, in a few words."""
    try:
        response = request.result()
    except httpx.HTTPError as error:
        return type(error).__name__
    return f"{response.status_code} {response.text}" if response.is_success else str(response)


@contextmanager
def live(app: Flask | ASGI3Application, **options: Any) -> Iterator[Live]:
    """Serves an application until the block ends; a Flask application through `FlaskToAsgi`."""
    asgi = FlaskToAsgi(app, **options) if isinstance(app, Flask) else app
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    with (
        serve_in_thread(asgi) as server,
        httpx.Client(base_url=server.url, timeout=2 * PATIENCE, limits=limits) as client,
        ThreadPoolExecutor(64) as pool,
    ):
        yield Live(server, client, pool)


def barrier(parties: int) -> threading.Barrier:
    """A barrier of threads; it breaks unless all threads arrive."""
    return threading.Barrier(parties, timeout=PATIENCE)


def place() -> str:
    """Whether the calling code runs in the thread of an event loop, or in another thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return "thread"
    return "loop"
