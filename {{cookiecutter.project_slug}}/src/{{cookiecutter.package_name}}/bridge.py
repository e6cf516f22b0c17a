"""Serves a Flask application over ASGI so that its requests really run concurrently.

The rule is the one that users of FastAPI and Starlette know: an ``async def`` view runs on the
server's event loop, everything else in a worker thread.

The protocols are `ASGI <https://asgi.readthedocs.io/en/latest/specs/www.html>`_ on the server's
side and WSGI (PEP 3333) on Flask's.
"""

import asyncio
import contextlib
import contextvars
import functools
import io
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from http import HTTPStatus
from inspect import isasyncgenfunction, iscoroutinefunction
from types import TracebackType
from typing import Any, TypeVar, cast

from asgiref.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPResponseStartEvent,
    HTTPScope,
    Scope,
)
from asgiref.wsgi import WsgiToAsgi, WsgiToAsgiInstance
from flask import Flask, Request
from werkzeug.wsgi import get_path_info

from .concurrency import ThreadPool, block_on, can_block_on, run_on_loop
from .wsgi import Incoming, RequestBody, declares_body, make_response, mend_environ, mend_scope

T = TypeVar("T")

Lifespan = Callable[[Flask], contextlib.AbstractAsyncContextManager[None]]


class FlaskToAsgi(WsgiToAsgi):
    """An ASGI application that serves ``app``.

    Args:
        app: any Flask application; its ``wsgi_app`` may be wrapped in WSGI middleware.
        lifespan: called with ``app``; the context manager that it returns is entered once per
            worker, before the first request, and left after the last.
        threads: how many requests run at once whose view is not ``async def``. Others wait.
        duplicate_header_limit: a request that repeats a header more often is answered 400.
    """

    def __init__(
        self,
        app: Flask,
        *,
        lifespan: Lifespan | None = None,
        threads: int = 100,
        duplicate_header_limit: int = 100,
    ) -> None:
        super().__init__(app, duplicate_header_limit)  # type: ignore[no-untyped-call] # asgiref's
        self.app = app
        self.lifespan = lifespan or _no_lifespan
        self.threads = ThreadPool(threads)
        self._urls = app.url_map.bind("localhost")
        self._is_async = functools.lru_cache(maxsize=1024)(self._is_async)  # type: ignore[method-assign]
        # Flask means both methods to be replaced. Outside a server they do what they always did.
        vars(app).update(
            async_to_sync=functools.partial(_async_to_sync, app.async_to_sync),
            make_response=functools.partial(make_response, app.make_response, self.threads),
        )

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Serve one request, or the lifespan of one worker; refuse a WebSocket.

        Raises:
            ValueError: the scope's type is none that ASGI defines.
        """
        if scope["type"] == "http":
            await _Exchange(self, scope, receive, send).run()
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
        if can_block_on():
            return block_on(function(*args, **kwargs))
        return outside_a_server(function)(*args, **kwargs)

    return call


class _Exchange(WsgiToAsgiInstance):
    """One request and its response."""

    def __init__(
        self,
        bridge: FlaskToAsgi,
        scope: HTTPScope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
    ) -> None:
        super().__init__(bridge.wsgi_application)  # type: ignore[no-untyped-call] # asgiref's
        self.duplicate_header_limit = bridge.duplicate_header_limit
        self.bridge = bridge
        self.server_scope = scope
        self.scope = mend_scope(scope)
        self.send = send
        self.task = cast("asyncio.Task[None]", asyncio.current_task())
        self.incoming = Incoming(receive, on_disconnect=self.task.cancel)
        # The application runs in a context of its own. A server may start the next request of the
        # connection from within `receive` or `send`, which therefore keep the server's.
        self.context = contextvars.copy_context()
        self.response_body: Iterable[bytes] = ()
        self.start_event: HTTPResponseStartEvent
        self.written: list[bytes] = []
        self.chunks: Iterator[bytes] = iter(())
        self.unsent: int | None = None
        self.closed = False

    async def run(self) -> None:
        try:
            request_body: io.IOBase = io.BytesIO()
            if declares_body(self.server_scope):
                request_body = RequestBody(self.incoming)
            else:
                await self.incoming.receive()
            if not self.incoming.disconnected:
                await self.respond(request_body)
        except asyncio.CancelledError:
            # Without a client there is nobody to answer. Otherwise the server wants to stop.
            if not self.incoming.disconnected:
                raise
            self.task.uncancel()
        finally:
            self.incoming.stop()

    async def respond(self, request_body: io.IOBase) -> None:
        try:
            environ = self.build_environ(self.scope, request_body)  # type: ignore[no-untyped-call] # asgiref's
        except ValueError:
            await self.refuse(HTTPStatus.BAD_REQUEST, "A header is repeated too often.")
            return
        mend_environ(environ, self.server_scope)
        run = self.run_on_loop if self.bridge.has_async_view(environ) else self.run_in_thread
        try:
            chunk = await run(functools.partial(self.call_application, environ))
            self.response_started = True
            await self.send(self.start_event)
            while not self.closed:
                self.incoming.watch()
                await self.send({"type": "http.response.body", "body": chunk, "more_body": True})
                chunk = await run(self.next_chunk)
            await self.send({"type": "http.response.body", "body": chunk, "more_body": False})
        finally:
            if not self.closed:
                await run(self.close)

    def run_on_loop(self, call: Callable[[], T]) -> Awaitable[T]:
        return run_on_loop(call, self.context, on_wait=self.incoming.watch)

    def run_in_thread(self, call: Callable[[], T]) -> Awaitable[T]:
        return self.bridge.threads.run(call, self.context)

    def call_application(self, environ: dict[str, Any]) -> bytes:
        """Return the first part of the response's body."""
        self.response_body = self.wsgi_application(environ, self.start_response)
        self.chunks = itertools.chain(self.written, self.response_body)
        return self.next_chunk()

    def next_chunk(self) -> bytes:
        """Return the next part of the body; with its last part, which may be empty, close it.

        So an ordinary response, which has one part, takes one call and one message.
        """
        chunk = next(filter(None, self.chunks), b"")
        if self.unsent is not None:
            chunk = chunk[: self.unsent]
            self.unsent -= len(chunk)
        if not chunk or self.unsent == 0:
            self.close()
        return chunk

    def close(self) -> None:
        """Tell the application that the response has ended, however that came about."""
        self.closed = True
        try:
            if (close := getattr(self.response_body, "close", None)) is not None:
                close()
        except Exception:
            # The response itself is fine, and may have been sent.
            self.bridge.app.logger.exception("Closing a response failed")

    def start_response(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: tuple[type[BaseException], BaseException, TracebackType] | None = None,
    ) -> Callable[[bytes], None]:
        """Note how the response starts; WSGI calls this, once or, after an error, once more."""
        if self.response_started and exc_info is not None:
            raise exc_info[1].with_traceback(exc_info[2])
        self.unsent = None
        for name, value in headers:
            if name.lower() == "content-length":
                self.unsent = int(value)
        self.start_event = _start_event(int(status[:3]), headers)
        return self.written.append

    async def refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer without asking the application, with a problem (RFC 9457)."""
        problem = {"title": status.phrase, "status": status, "detail": detail}
        body = json.dumps(problem).encode()
        headers = [
            ("content-type", "application/problem+json"),
            ("content-length", str(len(body))),
        ]
        await self.send(_start_event(status, headers))
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def _start_event(status: int, headers: Iterable[tuple[str, str]]) -> HTTPResponseStartEvent:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
        ],
        "trailers": False,
    }
