"""An ASGI request as WSGI sees it: the environ, and bodies as a file and as an iterator.

WSGI is PEP 3333; its strings are bytes decoded as latin-1. The environ itself is asgiref's; what
is mended here are the places where it departs from HTTP.
"""

import asyncio
import contextvars
import functools
import io
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, cast
from urllib.parse import unquote_to_bytes

from asgiref.typing import ASGIReceiveCallable, HTTPScope
from flask.typing import ResponseReturnValue
from flask.wrappers import Response
from werkzeug.exceptions import ClientDisconnected

from .concurrency import ThreadPool, block_on, block_on_thread, can_block_on, is_on_loop


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


def mend_scope(scope: HTTPScope) -> HTTPScope:
    """Return ``scope`` with what asgiref's ``build_environ`` cannot take put right or left out.

    - Several ``Cookie`` headers are one, joined with ``; `` (RFC 9113 section 8.2.3).
    - ``X_Forwarded_For`` would become the same variable as ``X-Forwarded-For``, which proxies
      overwrite and applications trust. Such names are dropped, as nginx and gunicorn drop them.
    - The query string and ``root_path`` are left to `mend_environ`.
    """
    headers = []
    cookies = []
    for name, value in scope["headers"]:
        if name == b"cookie":
            cookies.append(value)
        elif b"_" not in name:
            headers.append((name, value))
    if cookies:
        headers.append((b"cookie", b"; ".join(cookies)))
    return {**scope, "headers": headers, "query_string": b"", "root_path": ""}


def mend_environ(environ: dict[str, Any], scope: HTTPScope) -> None:
    """Put into ``environ`` what asgiref leaves out or gets wrong; ``scope`` is the server's."""
    environ["QUERY_STRING"] = scope["query_string"].decode("latin-1")
    script_name = scope.get("root_path", "").rstrip("/")
    if script_name:
        environ["SCRIPT_NAME"] = script_name.encode().decode("latin-1")
    path = _path_bytes(scope).decode("latin-1")
    # ASGI's path includes root_path, but not every server has put it there.
    if path == environ["SCRIPT_NAME"] or path.startswith(environ["SCRIPT_NAME"] + "/"):
        path = path.removeprefix(environ["SCRIPT_NAME"])
    environ["PATH_INFO"] = path
    if client := scope.get("client"):
        environ["REMOTE_PORT"] = str(client[1])
    # `RequestBody` ends where the body does, so a chunked one is safe to read without a length.
    environ["wsgi.input_terminated"] = True


def _path_bytes(scope: HTTPScope) -> bytes:
    # A server decodes the path as UTF-8. Where that lost a byte, the raw path still has it.
    raw_path = scope.get("raw_path")
    if raw_path and "\ufffd" in scope["path"]:
        return unquote_to_bytes(raw_path)
    return scope["path"].encode()


class Incoming:
    """What the server has to say about a request: its body, and whether the client went away.

    Args:
        receive: the ASGI server's. Nobody else may call it.
        on_disconnect: called when the client goes away, unless `stop` was called before.
    """

    def __init__(self, receive: ASGIReceiveCallable, on_disconnect: Callable[[], object]) -> None:
        self.unread = memoryview(b"")
        self.more = True
        self.disconnected = False
        self._receive = receive
        self._on_disconnect = on_disconnect
        # The server's context, kept clean of what the application sets: see `exchange.Exchange`.
        self._context = contextvars.copy_context()
        self._receiving: asyncio.Task[None] | None = None
        self._stopped = False

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
        self.watch()
        if self._receiving is not None:
            await asyncio.shield(self._receiving)

    def watch(self) -> None:
        """Receive one message ahead in the background, to notice a client that goes away.

        Only one: the rest of a body waits in the socket until this part has been read.
        """
        if self._receiving is None and not (self.unread or self.disconnected or self._stopped):
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

    def readable(self) -> bool:
        """Return True, as a file that can be read does."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - typeshed's WriteableBuffer
        """Fill `buffer` with the next bytes and return how many; 0 at the end of the body.

        Raises:
            ClientDisconnected: the client went away before the end.
        """
        incoming = self._incoming
        while incoming.more and not incoming.unread:
            if incoming.disconnected:
                raise ClientDisconnected
            block_on(incoming.receive_ahead())
        size = min(len(buffer), len(incoming.unread))
        buffer[:size] = incoming.unread[:size]
        incoming.unread = incoming.unread[size:]
        return size


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

        if can_block_on():
            return block_on(wait())
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
