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
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from asgiref.wsgi import WsgiToAsgi
from flask import Flask, Request, request
from werkzeug.wsgi import get_path_info

from .bodies import make_response
from .concurrency import ThreadPool, waiter
from .exchange import CANCELLED_STATUS, Exchange, refuse_for_load
from .routing import remember_urls
from .wsgi import declares_body

# nginx's word for a client that closed the connection before its answer; HTTP has none.
CLIENT_CLOSED_REQUEST = 499

Lifespan = Callable[[Flask], contextlib.AbstractAsyncContextManager[None]]


class FlaskToAsgi(WsgiToAsgi):
    """An ASGI application that serves ``app``.

    Args:
        app: any Flask application; its ``wsgi_app`` may be wrapped in WSGI middleware.
        lifespan: called with ``app``; the context manager that it returns is entered once per
            worker, before the first request, and left after the last.
        threads: how many requests run at once whose view is not ``async def``.
        max_waiting: how many such requests may wait for a thread; more are answered 503.
        max_in_flight: how many requests may be under way in all; more are answered 503.
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
        self.max_in_flight = max_in_flight
        self.always_answer = frozenset(always_answer)
        self.request_timeout = request_timeout
        self.in_flight = 0
        self._urls = app.url_map.bind("localhost")
        self._is_async = functools.lru_cache(maxsize=1024)(self._is_async)  # type: ignore[method-assign]
        remember_urls(app)
        # Flask means its methods to be replaced. Outside a server they do what they always did.
        vars(app).update(
            async_to_sync=functools.partial(_async_to_sync, app.async_to_sync),
            make_response=functools.partial(make_response, app.make_response, self.threads),
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
            if self.in_flight >= self.max_in_flight and scope["path"] not in self.always_answer:
                # A body that nobody reads must not be taken for the next request.
                close = [("connection", "close")] if declares_body(scope) else []
                await refuse_for_load(send, *close)
                return
            self.in_flight += 1
            try:
                await Exchange(self, scope, receive, send).run()
            finally:
                self.in_flight -= 1
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

    def has_async_view(self, environ: dict[str, Any]) -> bool:
        """Tell whether Flask will answer the request with an ``async def`` view."""
        if self.app.url_map.host_matching or self.app.subdomain_matching:
            request = self.app.request_class(environ, populate_request=False)
            return self._is_async(request.method, request.path, request)
        return self._is_async(environ["REQUEST_METHOD"], get_path_info(environ))

    def _is_async(self, method: str, path: str, request: Request | None = None) -> bool:
        # Matching takes some 5 us, and most services are asked for the same paths again and again:
        # __init__ puts a cache in front.
        try:
            urls = self.app.create_url_adapter(request) if request else self._urls
            rule, _ = urls.match(path, method, return_rule=True, query_args="")  # type: ignore[union-attr] # caught
            view = self.app.view_functions[rule.endpoint]
        except Exception:  # noqa: BLE001 - not found, redirected, or a URL converter that wants more
            return False
        return iscoroutinefunction(view) or isasyncgenfunction(view)


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


def _tear_down(app: Flask, tear_down: Callable[..., None], *error: BaseException | None) -> None:
    try:
        if error and isinstance(error[-1], asyncio.CancelledError):
            _run_deferred(app)
    finally:
        tear_down(*error)


def _run_deferred(app: Flask) -> None:
    # A cancelled view leaves no response, yet what it put off until there is one, such as removing
    # a file (`after_this_request`), has to be done. Once, however often the application is wrapped.
    environ = request.environ
    status = environ.get(CANCELLED_STATUS, CLIENT_CLOSED_REQUEST)
    environ[CANCELLED_STATUS] = None
    if status is not None:
        try:
            app.process_response(app.response_class(status=status))
        except Exception:
            app.logger.exception("What follows a cancelled view failed")
