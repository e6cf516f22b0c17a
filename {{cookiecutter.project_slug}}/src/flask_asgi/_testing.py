"""A real server in a thread, for tests."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from socket import AF_INET, SOCK_STREAM, socket
from typing import Any, TypeVar

import uvicorn
from asgiref.typing import ASGI3Application

from ._protocol import HttpProtocol
from ._server import Server
from ._tasks import contained

T = TypeVar("T")

# Seconds that requests in flight may take when the server stops. By then a test has its responses.
GRACE_SECONDS = 1


@dataclass(frozen=True)
class RunningServer:
    """A server that `serve_in_thread` has started.

    Attributes:
        url: the root, without a slash at its end: ``http://127.0.0.1:54321``.
    """

    url: str
    _loop: asyncio.AbstractEventLoop

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the result of `coroutine`, run on the server's event loop.

        For example, to use a client or a database of the application that belongs to that loop.
        It runs outside of any request: push an application context if the code needs it.

        Raises:
            RuntimeError: the server has stopped; or the coroutine raised `SystemExit` or
                `KeyboardInterrupt`, which would have ended the server.
            BaseException: any other error that the coroutine raised.
        """
        if not self._loop.is_running():
            coroutine.close()
            message = f"the server at {self.url} has stopped"
            raise RuntimeError(message)
        return asyncio.run_coroutine_threadsafe(contained(coroutine), self._loop).result()


@contextlib.contextmanager
def serve_in_thread(asgi: ASGI3Application) -> Iterator[RunningServer]:
    """Serve `asgi` with uvicorn in a thread until the block ends, on a free port of 127.0.0.1.

    The setup is that of production: `Server` and `HttpProtocol`, one event loop, and the lifespan,
    which is open within the block. So a test can use features that `app.test_client()` lacks:
    streams, background work, disconnects, concurrent requests.

    At the end of the block requests in flight are given one second. The server does not wait for
    clients that are about to connect, so it stops quickly enough for a server per test.

    Raises:
        RuntimeError: the server did not start, for example because the lifespan failed. The log has
            the traceback.
    """
    with socket(AF_INET, SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            asgi,
            http=HttpProtocol,
            lifespan="on",
            ws="none",
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        server = _ThreadServer(config)
        thread = threading.Thread(target=server.serve_on, args=(listener,), name="server")
        thread.start()
        try:
            loop = server.loop.result()
            yield RunningServer(f"http://127.0.0.1:{listener.getsockname()[1]}", loop)
        finally:
            server.stop()
            thread.join()


class _ThreadServer(Server):
    """A server that tells another thread whether it has started."""

    handshake_seconds = 0
    on_its_way_seconds = 0

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.loop: Future[asyncio.AbstractEventLoop] = Future()
        self.ticks: asyncio.Task[None] | None = None

    def serve_on(self, listener: socket) -> None:
        """Serve until `should_exit` is set."""
        try:
            self.run([listener])
        except BaseException as error:
            if self.loop.done():
                raise
            failure = RuntimeError("the server did not start: the log has the reason")
            failure.__cause__ = error
            self.loop.set_exception(failure)

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Listen, and tell the other thread."""
        await super().startup(sockets)
        self.loop.set_result(asyncio.get_running_loop())

    async def main_loop(self) -> None:
        """Tick until `stop`."""
        self.ticks = asyncio.create_task(contained(super().main_loop()))
        with contextlib.suppress(asyncio.CancelledError):
            await self.ticks

    def stop(self) -> None:
        """Stop the server from another thread, at once and not at its next tick."""
        self.should_exit = True
        if self.ticks is not None and self.ticks.get_loop().is_running():
            self.ticks.get_loop().call_soon_threadsafe(self.ticks.cancel)
