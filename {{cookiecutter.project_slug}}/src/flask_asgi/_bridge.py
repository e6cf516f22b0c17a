"""Serves a Flask application over ASGI so that its requests really run concurrently.

The rule is the one that users of FastAPI and Starlette know: an ``async def`` view runs on the
server's event loop, everything else in a worker thread.

The protocols are `ASGI <https://asgi.readthedocs.io/en/latest/specs/www.html>`_ on the server's
side and WSGI (PEP 3333) on Flask's.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, NoReturn

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from asgiref.wsgi import WsgiToAsgi
from flask import Flask, Request, Response, request

from ._admission import Admission
from ._bodies import make_response
from ._exchange import Exchange
from ._greenlets import is_cancelled
from ._refusals import LEFTOVERS, run_deferred
from ._threads import ThreadPool
from ._url_cache import AsyncViews, remember_urls
from ._waiting import waiter

Lifespan = Callable[[Flask], contextlib.AbstractAsyncContextManager[None]]


class FlaskToAsgi(WsgiToAsgi):
    """An ASGI application that serves ``app``.

    Args:
        app: any Flask application; its ``wsgi_app`` may be wrapped in WSGI middleware.
        lifespan: called with ``app``; the context manager that it returns is entered once per
            worker, before the first request, and left after the last.
        threads: how many requests run at once whose view is not ``async def``.
        max_waiting: how many such requests may wait for a thread; more are answered 503.
        max_in_flight: how many requests may be under way in all; more are answered 503. While the
            event loop does not keep up, requests wait in line for a moment before they begin.
        always_answer: paths, such as health checks, that are answered above `max_in_flight` too.
        request_timeout: seconds after which a short body that has not arrived is answered 408, and
            after which an ``async def`` view that has not begun to respond is cancelled and its
            request answered 504; None is no limit. A thread has no such limit, as it cannot be
            interrupted, and neither has a stream once it has begun.
        duplicate_header_limit: a request that repeats a header more often is answered 400; None is
            no limit.
    """

    def __init__(  # noqa: PLR0913 - by keyword, each with a default
        self,
        app: Flask,
        *,
        lifespan: Lifespan | None = None,
        threads: int = 100,
        max_waiting: int = 1000,
        max_in_flight: int = 10_000,
        always_answer: Collection[str] = (),
        request_timeout: float | None = None,
        duplicate_header_limit: int | None = 100,
    ) -> None:
        super().__init__(app, duplicate_header_limit)  # type: ignore[no-untyped-call] # asgiref's
        self.app = app
        self.lifespan = lifespan or _no_lifespan
        self.threads = ThreadPool(threads, max_waiting)
        self.admission = Admission(max_in_flight)
        self.always_answer = frozenset(always_answer)
        self.request_timeout = request_timeout
        self.has_async_view = AsyncViews(app)
        remember_urls(app)
        # Flask means its methods to be replaced. Outside a server they do what they always did.
        vars(app).update(
            async_to_sync=functools.partial(_async_to_sync, app.async_to_sync),
            make_response=functools.partial(make_response, app.make_response, self.threads),
            full_dispatch_request=functools.partial(_dispatch, app.full_dispatch_request),
            raise_routing_exception=functools.partial(
                _raise_routing_exception, app.raise_routing_exception
            ),
            do_teardown_request=functools.partial(_tear_down, app, app.do_teardown_request),
        )

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Serve one request, or the lifespan of one worker; refuse a WebSocket.

        Raises:
            ValueError: the scope's type is none that ASGI defines.
        """
        if scope["type"] == "http":
            admission = self.admission
            may_begin = admission.is_open() or scope["path"] in self.always_answer
            if not (may_begin or await admission.wait()):
                await Exchange(self, scope, receive, send).refuse_for_load()
                return
            admission.in_flight += 1
            try:
                await Exchange(self, scope, receive, send).run()
            finally:
                admission.in_flight -= 1
        elif scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000, "reason": None})
        else:
            message = f"FlaskToAsgi serves http and lifespan, not {scope['type']!r}"
            raise ValueError(message)

    async def _run_lifespan(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await receive()
        phase = "startup"
        try:
            async with self.lifespan(self.app):
                await send({"type": "lifespan.startup.complete"})
                await receive()
                phase = "shutdown"
        except Exception as error:
            self.app.logger.exception("%s failed", phase)
            reason = f"{phase} failed: {type(error).__name__}: {error}"
            if phase == "startup":
                await send({"type": "lifespan.startup.failed", "message": reason})
            else:
                await send({"type": "lifespan.shutdown.failed", "message": reason})
        else:
            await send({"type": "lifespan.shutdown.complete"})
        finally:
            self.threads.close()


@contextlib.asynccontextmanager
async def _no_lifespan(_app: Flask) -> AsyncIterator[None]:
    yield


def _async_to_sync(
    outside_a_server: Callable[[Callable[..., Any]], Callable[..., Any]],
    function: Callable[..., Any],
) -> Callable[..., Any]:
    # Flask calls this whenever it needs what an async view, hook or error handler returns.
    def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the view's own
        if (wait := waiter()) is None:
            return outside_a_server(function)(*args, **kwargs)
        return wait(function(*args, **kwargs))

    return call


def _dispatch(dispatch: Callable[..., Response], *args: Any) -> Response:  # noqa: ANN401 - Flask's
    # Flask answers an `Exception` with a 500. These two are none, and must neither end the server
    # nor pass for a client that left.
    try:
        return dispatch(*args)
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        message = "the request waited for a task that somebody else had cancelled"
        raise RuntimeError(message) from error
    except SystemExit as error:
        message = f"{error!r} would have ended the server"
        raise RuntimeError(message) from error


def _raise_routing_exception(raise_it: Callable[[Request], NoReturn], request: Request) -> NoReturn:
    request.environ.setdefault(LEFTOVERS, []).append(request)
    raise_it(request)


def _tear_down(app: Flask, tear_down: Callable[..., None], *error: BaseException | None) -> None:
    try:
        if error and isinstance(error[-1], asyncio.CancelledError):
            run_deferred(app)
    finally:
        tear_down(*error)
        if error and error[-1] is not None:
            request.environ.setdefault(LEFTOVERS, []).append(error[-1])
