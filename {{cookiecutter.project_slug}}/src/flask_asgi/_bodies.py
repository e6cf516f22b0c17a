"""Bodies: the request's as the file that WSGI reads, the response's as the iterator it returns."""

import asyncio
import contextvars
import functools
import io
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from time import monotonic
from typing import Any

from asgiref.typing import ASGIReceiveCallable
from flask import has_request_context, request, stream_with_context
from flask.typing import ResponseReturnValue
from flask.wrappers import Response
from werkzeug.exceptions import (
    ClientDisconnected,
    HTTPException,
    RequestEntityTooLarge,
    RequestTimeout,
)

from ._greenlets import is_on_loop
from ._refusals import LEFTOVERS
from ._threads import ThreadPool, block_on_thread
from ._waiting import block_on, waiter

# Bytes per second. A client that sends its body more slowly than this, from the time limit on, is
# no slow client: Apache's mod_reqtimeout has the same rate as its default.
LEAST_RATE = 500


class Incoming:
    """What the server has to say about a request: its body, and whether the client went away.

    Args:
        receive: the ASGI server's. Nobody else may call it.
        on_disconnect: called when the client goes away, unless `stop` was called before.
    """

    unread = memoryview(b"")
    received = 0  # bytes of the body
    more = True
    disconnected = False
    wanted = False  # somebody has begun to read the body
    awaited = False  # somebody waits for the client to send more of it
    dropping = False
    awaits_continue = False  # asking the server for the body makes it send 100 Continue
    _receiving: asyncio.Task[None] | None = None
    _stopped = False
    _began = 0.0
    _timeout: float | None = None

    def __init__(self, receive: ASGIReceiveCallable, on_disconnect: Callable[[], object]) -> None:
        self._receive = receive
        self._on_disconnect = on_disconnect
        # The server's context, kept clean of what the application sets: see `exchange.Exchange`.
        self._context = contextvars.copy_context()

    def expect_body(self, timeout: float | None) -> None:
        """Let the body take `timeout` seconds from now, and a second more for `LEAST_RATE` bytes.

        None is no limit.
        """
        self._began = monotonic()
        self._timeout = timeout

    async def receive(self) -> None:
        """Take the server's next message."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.disconnected = True
        elif message["type"] == "http.request":
            self.unread = memoryview(message.get("body", b""))
            self.received += len(self.unread)
            self.more = message.get("more_body", False)

    async def receive_all(self) -> bytes:
        """Return the whole body, or less of it if the client goes away."""
        parts = []
        while self.more and not self.disconnected:
            await self.receive()
            parts.append(self.unread)
        self.unread = memoryview(b"")
        return b"".join(parts)

    def rate(self) -> float:
        """Return how many bytes of the body have arrived per second so far."""
        return self.received / max(monotonic() - self._began, 0.001)

    async def receive_in_time(self) -> None:
        """Wait for more of the body, as `receive_ahead` does, within the time that it may take.

        Raises:
            TimeoutError: the client sends too slowly, or not at all.
        """
        patience = None
        if self._timeout is not None:
            may_take = self._timeout + self.received / LEAST_RATE
            patience = self._began + may_take - monotonic()
        self.awaited = True
        async with asyncio.timeout(patience):
            await self.receive_ahead()
        self.awaited = False

    async def receive_ahead(self) -> None:
        """Wait for the message that `watch` has asked for, or ask for it."""
        self.awaits_continue = False
        if self.unread or self.disconnected or not self.more:
            return  # it has come since a thread looked; the next one may not come for long
        self.watch()
        if self._receiving is not None:
            await asyncio.shield(self._receiving)

    def watch(self) -> None:
        """Receive one message ahead in the background, to notice a client that goes away.

        Only one: the rest of a body waits in the socket until this part has been read.
        """
        if self._receiving is None and self._may_receive():
            # Not made by the loop's task factory: an eager task would run here and now.
            loop = asyncio.get_running_loop()
            receive = self._receive_in_background()
            self._receiving = asyncio.Task(receive, loop=loop, context=self._context)

    def _may_receive(self) -> bool:
        full = (self.unread and self.more) or self.awaits_continue
        return not (full or self.disconnected or self._stopped)

    def drop_unless_wanted(self) -> None:
        """Drop a body that nobody has begun to read, now that the response is on its way.

        Behind it nobody would notice that the client goes away, and a stream might never end.
        """
        if self.more and not self.wanted:
            self.dropping = True
            self.unread = memoryview(b"")
            self.awaits_continue = False
            self.watch()

    async def discard(self) -> None:
        """Receive the rest of the body, and drop it."""
        while self.more and not self.disconnected:
            self.unread = memoryview(b"")
            await self.receive_ahead()

    def stop(self) -> None:
        """Receive no more: the response is complete."""
        self._stopped = True
        if self._receiving is not None:
            self._receiving.cancel()

    async def _receive_in_background(self) -> None:
        try:
            await self.receive()
            while self.dropping and self.more and not (self.disconnected or self._stopped):
                await self.receive()
            if self.dropping:
                self.unread = memoryview(b"")
        finally:
            self._receiving = None
        if self.disconnected and not self._stopped:
            self._on_disconnect()
        elif not self.more:  # what comes now is the news that the client goes away
            self.watch()


SLOW_BODY = "The body of the request took too long to arrive."


class RequestBody(io.RawIOBase):
    """The request's body as a file, ``wsgi.input``, received from the server as it is read."""

    def __init__(self, incoming: Incoming, threads: ThreadPool) -> None:
        self._incoming = incoming
        self._threads = threads
        self._position = 0

    def readable(self) -> bool:
        """Return True, as a file that can be read does."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - typeshed's WriteableBuffer
        """Fill `buffer` with the next bytes and return how many; 0 at the end of the body.

        Raises:
            ClientDisconnected: the client went away before the end.
            RequestTimeout: the client takes too long to send the rest.
            RequestEntityTooLarge: the body is longer than MAX_CONTENT_LENGTH.
            RuntimeError: the response has begun, and nobody had read any of the body until then; or
            the bytes have not arrived, and a task or thread that the view started wants them.
        """
        self._incoming.wanted = True
        if self._incoming.dropping:
            message = "a view that streams has to begin to read its request before it first yields"
            raise RuntimeError(message)
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
            if waiter() is None:
                message = (
                    "only the view's own code can wait for a body that has not arrived yet, not a "
                    "task or thread that it starts: read the body in the view and pass it on"
                )
                raise RuntimeError(message)
            self._wait_for_client()

    def _wait_for_client(self) -> None:
        wait = self._incoming.receive_in_time()
        try:
            # On the loop the wait holds nobody up. In a thread it must not hold the thread's place.
            block_on(wait if is_on_loop() else self._threads.park(wait, self._incoming.rate))
        except TimeoutError as error:
            raise RequestTimeout(SLOW_BODY) from error


def make_response(
    flask_make_response: Callable[[ResponseReturnValue], Response],
    threads: ThreadPool,
    value: Any,  # noqa: ANN401 - what a view returned
) -> Response:
    """Return Flask's response to ``value``, with a body that can be iterated where the view ran.

    An async iterator becomes an iterator that waits for it. A streamed body that is not
    async, such as a file, is read in a thread: reading it on the loop would stop the server.
    """
    if isinstance(value, HTTPException):
        request.environ.setdefault(LEFTOVERS, []).append(value)
        value = value.get_response(request.environ)  # Flask would make a stream of the page
    if isinstance(value, tuple):
        value = (_without_async(value[0]), *value[1:]) if value else value
    else:
        value = _without_async(value)
    response = flask_make_response(value)
    if isinstance(response.response, list):  # nearly always
        return response
    body = response.response = _without_async(response.response)  # Response(async_generator())
    if is_on_loop() and response.is_streamed and not isinstance(body, AsyncBody):
        response.response = ThreadBody(body, threads)
    return response


def _without_async(value: Any) -> Any:  # noqa: ANN401 - whatever a view returned, or a body
    if hasattr(value, "__aiter__"):
        return AsyncBody(value)
    # `stream_with_context` takes an async generator for a function that makes one, and wraps it.
    source: Any = getattr(value, "__wrapped__", None)
    return AsyncBodyWithContext(source) if hasattr(source, "__aiter__") else value


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


class AsyncBodyWithContext(AsyncBody):
    """An async iterator as a response body that keeps the request's context until it ends."""

    def __init__(self, source: AsyncIterator[Any]) -> None:
        self._parts: Any = stream_with_context(AsyncBody(source))  # a generator

    def __next__(self) -> Any:  # noqa: ANN401 - str or bytes: Werkzeug encodes it
        """Return what the source yields next."""
        return next(self._parts)

    def close(self) -> None:
        """End the source, and leave the context."""
        self._parts.close()


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
