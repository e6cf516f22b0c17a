"""An ASGI request as WSGI sees it: the environ, and bodies as a file and as an iterator.

WSGI is PEP 3333; its strings are bytes decoded as latin-1.
"""

import asyncio
import contextvars
import functools
import io
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, cast
from urllib.parse import unquote_to_bytes

from asgiref.typing import ASGIReceiveCallable, HTTPScope
from flask import has_request_context, request
from flask.typing import ResponseReturnValue
from flask.wrappers import Response
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from .concurrency import ThreadPool, block_on, block_on_thread, is_on_loop, waiter


def declares_body(scope: HTTPScope) -> bool:
    """Tell whether the request may have a body.

    In HTTP/1 a body is announced by one of two headers (RFC 9112 section 6.3); later versions
    frame it themselves, so there it has to be looked for.
    """
    if not scope["http_version"].startswith("1"):
        return True
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


def awaits_continue(scope: HTTPScope) -> bool:
    """Tell whether the client holds its body back until asked for it: RFC 9110 section 10.1.1."""
    return any(name == b"expect" for name, _ in scope["headers"])


def build_environ(scope: HTTPScope, body: io.IOBase, duplicate_limit: int) -> dict[str, Any]:
    """Return the WSGI environ of an ASGI request: PEP 3333, "environ Variables".

    asgiref's `build_environ` does the same, but loses what `_headers`, `_path` and the query
    string keep, and is given no chance to.

    Raises:
        ValueError: a header is repeated more often than `duplicate_limit`.
    """
    root = scope.get("root_path", "").rstrip("/")
    server = scope.get("server") or ("localhost", 80)
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root.encode().decode("latin-1"),
        "PATH_INFO": _path(scope, root),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or 0),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": body,
        # `RequestBody` ends where the body does, so a chunked one is safe to read without a length.
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if client := scope.get("client"):
        environ["REMOTE_ADDR"] = client[0]
        environ["REMOTE_PORT"] = str(client[1])
    for name, values in _headers(scope).items():
        if len(values) > duplicate_limit and name != "HTTP_COOKIE":
            message = f"{name} is repeated more than {duplicate_limit} times"
            raise ValueError(message)
        # Several Cookie headers are one, joined otherwise than all others: RFC 9113 section 8.2.3.
        environ[name] = ("; " if name == "HTTP_COOKIE" else ",").join(values)
    return environ


def _headers(scope: HTTPScope) -> dict[str, list[str]]:
    """Return the values of every header by the name of its variable.

    ``X_Forwarded_For`` would have the same variable as ``X-Forwarded-For``, which proxies
    overwrite and applications trust. Such names are left out, as nginx and gunicorn do.
    """
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        if b"_" not in name:
            variable = _variable(name)
            if variable in headers:
                headers[variable].append(value.decode("latin-1"))
            else:
                headers[variable] = [value.decode("latin-1")]
    return headers


@functools.lru_cache(maxsize=256)  # clients send the same few names again and again
def _variable(header: bytes) -> str:
    variable = header.decode("latin-1").upper().replace("-", "_")
    return variable if variable in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{variable}"


def _path(scope: HTTPScope, root: str) -> str:
    path = scope["path"]
    raw_path = scope.get("raw_path")
    # A server decodes the path as UTF-8. Where that lost a byte, the raw path still has it.
    lossy = raw_path and "\ufffd" in path
    as_bytes = unquote_to_bytes(raw_path) if raw_path and lossy else path.encode()
    path = as_bytes.decode("latin-1")
    # A client may send a whole URL (RFC 9112 section 3.2.2). Not every server takes it apart.
    if not path.startswith("/") and "://" in path:
        path = "/" + path.partition("://")[2].partition("/")[2]
    # ASGI's path includes root_path, but not every server has put it there.
    script_name = root.encode().decode("latin-1")
    if script_name and (path == script_name or path.startswith(script_name + "/")):
        path = path.removeprefix(script_name)
    return path


class Incoming:
    """What the server has to say about a request: its body, and whether the client went away.

    Args:
        receive: the ASGI server's. Nobody else may call it.
        on_disconnect: called when the client goes away, unless `stop` was called before.
    """

    unread = memoryview(b"")
    more = True
    disconnected = False
    awaits_continue = False  # asking the server for the body makes it send 100 Continue
    _receiving: asyncio.Task[None] | None = None
    _stopped = False

    def __init__(self, receive: ASGIReceiveCallable, on_disconnect: Callable[[], object]) -> None:
        self._receive = receive
        self._on_disconnect = on_disconnect
        # The server's context, kept clean of what the application sets: see `exchange.Exchange`.
        self._context = contextvars.copy_context()

    async def receive(self) -> None:
        """Take the server's next message."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.disconnected = True
        elif message["type"] == "http.request":
            self.unread = memoryview(message.get("body", b""))
            self.more = message.get("more_body", False)

    async def receive_ahead(self) -> None:
        """Wait for the message that `watch` has asked for, or ask for it."""
        self.awaits_continue = False
        self.watch()
        if self._receiving is not None:
            await asyncio.shield(self._receiving)

    def watch(self) -> None:
        """Receive one message ahead in the background, to notice a client that goes away.

        Only one: the rest of a body waits in the socket until this part has been read.
        """
        full = (self.unread and self.more) or self.awaits_continue
        if self._receiving is None and not (full or self.disconnected or self._stopped):
            loop = asyncio.get_running_loop()
            self._receiving = loop.create_task(self._receive_in_background(), context=self._context)

    def stop(self) -> None:
        """Receive no more: the response is complete."""
        self._stopped = True
        if self._receiving is not None:
            self._receiving.cancel()

    async def _receive_in_background(self) -> None:
        try:
            await self.receive()
        finally:
            self._receiving = None
        if self.disconnected and not self._stopped:
            self._on_disconnect()
        elif not self.more:
            self.watch()


class RequestBody(io.RawIOBase):
    """The request's body as a file, ``wsgi.input``, received from the server as it is read."""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming
        self._position = 0

    def readable(self) -> bool:
        """Return True, as a file that can be read does."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - typeshed's WriteableBuffer
        """Fill `buffer` with the next bytes and return how many; 0 at the end of the body.

        Raises:
            ClientDisconnected: the client went away before the end.
            RequestEntityTooLarge: the body is longer than MAX_CONTENT_LENGTH.
        """
        self._receive()
        incoming = self._incoming
        size = min(len(buffer), len(incoming.unread))
        buffer[:size] = incoming.unread[:size]
        incoming.unread = incoming.unread[size:]
        self._position += size
        # Where no length was announced, Werkzeug stops at the limit and passes that for the whole.
        if has_request_context() and self._position == request.max_content_length:
            self._receive()
            if incoming.unread:
                raise RequestEntityTooLarge
        return size

    def _receive(self) -> None:
        incoming = self._incoming
        while incoming.more and not incoming.unread:
            if incoming.disconnected:
                raise ClientDisconnected
            block_on(incoming.receive_ahead())


def make_response(
    flask_make_response: Callable[[ResponseReturnValue], Response],
    threads: ThreadPool,
    value: Any,  # noqa: ANN401 - what a view returned
) -> Response:
    """Return Flask's response to ``value``, with a body that can be iterated where the view ran.

    An async iterator becomes an iterator that waits for it. A streamed body that is not
    async, such as a file, is read in a thread: reading it on the loop would stop the server.
    """
    if isinstance(value, tuple):
        value = (_without_async(value[0]), *value[1:]) if value else value
    else:
        value = _without_async(value)
    response = flask_make_response(value)
    body = response.response
    if isinstance(body, list):  # nearly always
        return response
    if hasattr(body, "__aiter__"):  # Response(async_generator())
        response.response = AsyncBody(cast("AsyncIterator[Any]", body))
    elif is_on_loop() and response.is_streamed and not isinstance(body, AsyncBody):
        response.response = ThreadBody(cast("Iterable[bytes]", body), threads)
    return response


def _without_async(value: Any) -> Any:  # noqa: ANN401 - whatever a view returned
    return AsyncBody(value) if hasattr(value, "__aiter__") else value


class AsyncBody(Iterator[Any]):
    """An async iterator as a response body."""

    def __init__(self, source: AsyncIterator[Any]) -> None:
        self._source = aiter(source)
        self._runner: asyncio.Runner | None = None
        self._closed = False

    def __next__(self) -> Any:  # noqa: ANN401 - str or bytes: Werkzeug encodes it
        """Return what the source yields next."""
        chunk = self._wait_for(anext(self._source, _END))
        if chunk is _END:
            self.close()
            raise StopIteration
        return chunk

    def close(self) -> None:
        """End the source, once."""
        if self._closed:
            return
        self._closed = True
        if (aclose := getattr(self._source, "aclose", None)) is not None:
            self._wait_for(aclose())
        if self._runner is not None:
            self._runner.close()

    def _wait_for(self, awaitable: Any) -> Any:  # noqa: ANN401 - str or bytes
        async def wait() -> Any:  # noqa: ANN401 - str or bytes
            return await awaitable

        if (wait_here := waiter()) is not None:
            return wait_here(wait())
        # Under WSGI the stream gets an event loop of its own, for as long as it lasts.
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(wait(), context=contextvars.copy_context())


class ThreadBody(Iterator[Any]):
    """A body that may block, each part of which is produced in a thread."""

    def __init__(self, source: Iterable[Any], threads: ThreadPool) -> None:
        self._source = source
        self._iterator = iter(source)
        self._threads = threads

    def __next__(self) -> Any:  # noqa: ANN401 - str or bytes: Werkzeug encodes it
        """Return what the source yields next."""
        chunk = block_on_thread(self._threads, functools.partial(next, self._iterator, _END))
        if chunk is _END:
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Close the source, if it can be closed."""
        if (close := getattr(self._source, "close", None)) is not None:
            block_on_thread(self._threads, close)


_END: Any = object()
