"""Serves a Flask application over ASGI so that its requests really run concurrently.

The rule is the same as in FastAPI and Starlette: an ``async def`` view runs on the server's event
loop, everything else in a worker thread.

The protocols are `ASGI <https://asgi.readthedocs.io/en/latest/specs/www.html>`_ towards the server
and WSGI (PEP 3333) towards Flask.
"""

import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from asgiref.wsgi import WsgiToAsgi
from flask import Flask

from . import _asgiref
from ._access import watch_requests
from ._admission import Admission
from ._engine import Engine
from ._exchange import Exchange
from ._extensions import send_loaders_to_threads
from ._hooks import install_hooks
from ._observer import NOBODY, Load, ServerObserver, ShedReason, sampled
from ._placement import Placement
from ._report import HiddenViewError, report
from ._threads import ThreadPool
from ._trace import TRACE, Trace

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Enough for refusals and health checks, which take as long as the application's hooks.
SPARE_THREADS = 4


# No code of `WsgiToAsgi` runs here. It is the base class so that this class is a drop-in
# replacement: for a type annotation, for `isinstance`, and for its two attributes.
class FlaskToAsgi(WsgiToAsgi):
    """An ASGI application that serves ``app``.

    It replaces methods of ``app``. Outside of a server (under WSGI, in commands, with a test
    client) these work as before. An application can be wrapped more than once, for example in
    tests: its methods are replaced the first time only, and every `FlaskToAsgi` has separate
    threads and limits.

    Args:
        app: any Flask application; its ``wsgi_app`` may be wrapped in WSGI middleware.
        lifespan: called with ``app``; the async context manager that it returns is entered once
            per worker, before the first request, and left after the last. Often a `Lifespan`.
        threads: how many requests whose view is not ``async def`` run at once.
        max_waiting: how many such requests may wait for a thread; more are answered 503.
        max_in_flight: how many requests may be in flight in total; more are answered 503. While the
            event loop does not keep up, requests wait in line for a moment before they begin.
        always_answer: paths, such as health checks, that are answered even above `max_in_flight`
            and while all threads are busy.
        request_timeout: seconds. A body of at most 64 KiB that has not arrived by then is answered
            408. An ``async def`` view that has not begun to respond by then is cancelled, and its
            request answered 504. A thread cannot be interrupted, so the limit does not apply to
            views that run there, nor to a stream that has begun. None is no limit.
        on_loop: names of modules, such as ``flask_cors``, whose functions never block. Hooks and
            other functions from there count as marked with `flask_asgi.on_loop`.
        refuse_hidden_views: fail at start-up if a decorator hides an ``async def`` view. Such a
            view holds a thread while it waits. Without this a warning is logged for each.
        teach_asgiref: replace ``AsyncToSync.__call__`` of asgiref in this process, so that
            extensions that call it directly wait for the server's loop: see `_asgiref`.
        duplicate_header_limit: a request that repeats a header more often is answered 400; None is
            no limit.
        observer: is told of events, for metrics. With an observer every request has an id: see
            `watch_requests`.
    """

    def __init__(  # noqa: PLR0913 - by keyword, each with a default
        self,
        app: Flask,
        *,
        lifespan: Callable[[Flask], AbstractAsyncContextManager[None]] | None = None,
        threads: int = 100,
        max_waiting: int = 1000,
        max_in_flight: int = 10_000,
        always_answer: Collection[str] = (),
        request_timeout: float | None = None,
        on_loop: Collection[str] = (),
        refuse_hidden_views: bool = False,
        teach_asgiref: bool = True,
        duplicate_header_limit: int | None = 100,
        observer: ServerObserver | None = None,
    ) -> None:
        super().__init__(app, duplicate_header_limit)  # type: ignore[no-untyped-call] # asgiref's
        self.app = app
        self.lifespan = lifespan or _no_lifespan
        self.admission = Admission(max_in_flight)
        self.refuse_hidden_views = refuse_hidden_views
        install_hooks(app, on_loop)
        send_loaders_to_threads(app)
        if teach_asgiref:
            _asgiref.teach()
        self.engine = Engine(
            app=app,
            wsgi_application=_application(app),
            threads=ThreadPool(threads, max_waiting),
            placement=Placement(app),
            spare_threads=ThreadPool(SPARE_THREADS, max_waiting),
            always_answer=frozenset(always_answer),
            request_timeout=request_timeout,
            duplicate_header_limit=duplicate_header_limit,
            observer=observer or NOBODY,
        )
        if observer is not None:
            watch_requests(app, observer.request_ended)

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Serve one request, or the lifespan of one worker; refuse a WebSocket.

        Raises:
            ValueError: the scope is of another type than ``http``, ``lifespan`` and ``websocket``.
            RuntimeError: the application's error would end the server: see `Exchange.run`.
        """
        if scope["type"] == "http":
            exchange = Exchange(self.engine, scope, receive, send)
            trace: Trace | None = self.app.extensions.get(TRACE)
            if trace is None:
                await self._serve(exchange)
            else:
                with trace(exchange):
                    await self._serve(exchange)
        elif scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000, "reason": None})
        else:
            message = f"FlaskToAsgi serves http and lifespan, not {scope['type']!r}"
            raise ValueError(message)

    async def _serve(self, exchange: Exchange) -> None:
        admission = self.admission
        may_begin = admission.is_open() or exchange.scope["path"] in self.engine.always_answer
        if not (may_begin or await self._may_begin_later(exchange)):
            return
        admission.in_flight += 1
        try:
            await exchange.run()
        finally:
            admission.in_flight -= 1

    async def _may_begin_later(self, exchange: Exchange) -> bool:
        """Return whether the request may begin after a wait in line; if not, it was refused."""
        reason: ShedReason | None = "max_in_flight"
        if not self.admission.is_full():
            began = time.monotonic()
            reason = None if await self.admission.wait() else "queue"
            self.engine.observer.request_queued(time.monotonic() - began)
        if reason is not None:
            await exchange.run_refusal(reason)
        return reason is None

    def load(self) -> Load:
        """Return the current load."""
        threads = self.engine.threads
        return Load(
            in_flight=self.admission.in_flight,
            most_in_flight=self.admission.most,
            queued=self.admission.queued,
            threads_busy=threads.threads_busy,
            threads_away=threads.threads_away,
            threads_idle=threads.threads_idle,
            most_threads=threads.size,
            calls_waiting=threads.calls_waiting,
        )

    async def _run_lifespan(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await receive()
        phase = "startup"
        try:
            send_loaders_to_threads(self.app)
            report(
                self.app,
                self.engine.placement,
                self.engine.threads.size,
                refuse_hidden_views=self.refuse_hidden_views,
            )
            with sampled(self.engine.observer, self.load):
                async with self.lifespan(self.app):
                    await send({"type": "lifespan.startup.complete"})
                    await receive()
                    phase = "shutdown"
        except Exception as error:
            reason = f"{phase} failed: {type(error).__name__}: {error}"
            # A network, a disk, or a view that is refused: no traceback is needed to see why.
            is_plain = isinstance(error, OSError | HiddenViewError)
            self.app.logger.error("%s", reason, exc_info=not is_plain)  # noqa: TRY400
            if phase == "startup":
                await send({"type": "lifespan.startup.failed", "message": reason})
            else:
                await send({"type": "lifespan.shutdown.failed", "message": reason})
        else:
            await send({"type": "lifespan.shutdown.complete"})
        finally:
            self.engine.threads.close()
            self.engine.spare_threads.close()


def _application(app: Flask) -> "WSGIApplication":
    """Return `app` as a WSGI application: a function, because its call takes no C stack."""
    kind = type(app)

    def call(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        # Looked up for each request, as tools such as Sentry's replace it at any time.
        return kind.__call__(app, environ, start_response)

    return call


@asynccontextmanager
async def _no_lifespan(_app: Flask) -> AsyncIterator[None]:
    yield
