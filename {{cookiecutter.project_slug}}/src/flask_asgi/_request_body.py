"""The request's body, received from the server ahead of its reader, and the client's disconnect.

`Incoming` runs on the event loop and is the only code that calls ASGI's ``receive``. `RequestBody`
is the file that WSGI reads, in a greenlet or in a thread.
"""

import asyncio
import contextvars
import io
from collections.abc import Callable
from enum import Enum, auto
from time import monotonic
from typing import Any

from asgiref.typing import ASGIReceiveCallable
from flask import has_request_context, request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge, RequestTimeout

from ._greenlets import is_on_loop
from ._threads import ThreadPool
from ._waiting import block_on, waiter

# Bytes per second that a client must send at least, once the time limit has passed. Apache's
# mod_reqtimeout has the same default rate.
LEAST_RATE = 500

SLOW_BODY = "The body of the request took too long to arrive."


class Body(Enum):
    """How much of the request's body is still to be received."""

    NOT_ANNOUNCED = auto()  # the request has none, or it has not been looked for
    WITHHELD = auto()  # until the server sends 100 Continue: RFC 9110 section 10.1.1
    ARRIVING = auto()
    COMPLETE = auto()


class Reader(Enum):
    """The application's use of the request's body."""

    NONE_YET = auto()
    READING = auto()
    WAITING = auto()  # for bytes that the client has not sent yet
    DROPPED = auto()  # the response began before the application read any of the body


class Client(Enum):
    """Whether the client waits for the response."""

    CONNECTED = auto()
    GONE = auto()
    ANSWERED = auto()


# Python 3.11 takes six times as long to look a member up in its enum as to look up a global, and
# every request does so.
_, WITHHELD, ARRIVING, COMPLETE = Body
CONNECTED, GONE, ANSWERED = Client


class Allowance:
    """The time that a body may take: `timeout` seconds, plus a second per `LEAST_RATE` bytes.

    A `timeout` of None is no limit.
    """

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._began = monotonic()
        self.received = 0  # bytes

    def rate(self) -> float:
        """Return how many bytes have arrived per second so far."""
        return self.received / max(monotonic() - self._began, 0.001)

    def remaining(self) -> float | None:
        """Return how many seconds are left for the next bytes to arrive; None is no limit."""
        if self._timeout is None:
            return None
        return self._began + self._timeout + self.received / LEAST_RATE - monotonic()


class Incoming:
    """Receives the messages of one request from the server: its body, and its client's disconnect.

    Args:
        receive: the ASGI server's. No other code may call it.
        on_disconnect: called when the client disconnects before `stop` was called.
    """

    body = Body.NOT_ANNOUNCED
    reader = Reader.NONE_YET
    client = CONNECTED
    unread = memoryview(b"")
    allowance: Allowance | None = None
    _receiving: asyncio.Task[None] | None = None

    def __init__(self, receive: ASGIReceiveCallable, on_disconnect: Callable[[], object]) -> None:
        self._receive = receive
        self._on_disconnect = on_disconnect
        # The server's context, without the variables that the application sets: see `Exchange`.
        self._context = contextvars.copy_context()

    def expect_body(self, timeout: float | None, *, withheld: bool) -> None:
        """Allow the body `timeout` seconds from now: see `Allowance`.

        A `withheld` body is sent only after the server's 100 Continue.
        """
        self.body = WITHHELD if withheld else ARRIVING
        self.allowance = Allowance(timeout)

    @property
    def is_incomplete(self) -> bool:
        """Whether more of an announced body is to come."""
        return self.body is ARRIVING or self.body is WITHHELD

    @property
    def is_disconnected(self) -> bool:
        """Whether the client disconnected before its response was complete."""
        return self.client is GONE

    async def receive(self) -> None:
        """Take the server's next message: ASGI's ``http.request`` or ``http.disconnect``."""
        message = await self._receive()
        if message["type"] == "http.request":
            part = message.get("body", b"")
            self.unread = memoryview(part)
            self.body = ARRIVING if message.get("more_body", False) else COMPLETE
            if self.allowance is not None:
                self.allowance.received += len(part)
        elif message["type"] == "http.disconnect" and self.client is CONNECTED:
            self.client = GONE

    async def receive_all(self) -> bytes:
        """Return the whole body, or the part of it that arrived before the client disconnected."""
        parts = []
        while self.is_incomplete and not self.is_disconnected:
            await self.receive()
            parts.append(self.unread)
        self.unread = memoryview(b"")
        return b"".join(parts)

    async def receive_in_time(self) -> None:
        """Wait for more of the body, as `receive_ahead` does, within the time that is left.

        Raises:
            TimeoutError: the client sends too slowly, or not at all.
        """
        self.reader = Reader.WAITING
        remaining = None if self.allowance is None else self.allowance.remaining()
        async with asyncio.timeout(remaining):
            await self.receive_ahead()
        self.reader = Reader.READING

    async def receive_ahead(self) -> None:
        """Wait for the message that `watch` has asked for, or ask for it."""
        if self.body is WITHHELD:
            self.body = ARRIVING
        if self.unread or self.is_disconnected or not self.is_incomplete:
            return  # bytes arrived since a thread checked; the next bytes may take long
        self.watch()
        if self._receiving is not None:
            await asyncio.shield(self._receiving)

    def watch(self) -> None:
        """Receive one message in the background, to notice a client that disconnects.

        Only one: the rest of a body waits in the socket until this part has been read.
        """
        if self._receiving is None and self._may_receive():
            # Not made by the loop's task factory: an eager task would run here and now.
            loop = asyncio.get_running_loop()
            receive = self._receive_in_background()
            self._receiving = asyncio.Task(receive, loop=loop, context=self._context)

    def _may_receive(self) -> bool:
        if self.client is not CONNECTED or self.body is WITHHELD:
            return False
        return self.body is COMPLETE or not self.unread

    def drop_unless_read(self) -> None:
        """Drop a body that the application has not begun to read, as the response has begun.

        An unread body hides the client's disconnect, so an endless stream would never stop.
        """
        if self.body is not COMPLETE and self.reader is Reader.NONE_YET:
            self.reader = Reader.DROPPED
            self.unread = memoryview(b"")
            self.body = ARRIVING
            self.watch()

    async def discard(self) -> None:
        """Receive the rest of the body, and drop it."""
        while self.is_incomplete and not self.is_disconnected:
            self.unread = memoryview(b"")
            await self.receive_ahead()

    def stop(self) -> None:
        """Receive no more: the response is complete."""
        if self.client is CONNECTED:
            self.client = ANSWERED
        if self._receiving is not None:
            self._receiving.cancel()
            # Cancelled before its first step, the task ends without the `finally` that does this.
            self._receiving = None

    async def _receive_in_background(self) -> None:
        try:
            await self.receive()
            if self.reader is Reader.DROPPED:
                while self.is_incomplete and self.client is CONNECTED:
                    await self.receive()
                self.unread = memoryview(b"")
        finally:
            self._receiving = None
        if self.is_disconnected:
            self._on_disconnect()
        elif self.body is COMPLETE:  # the next message is the client's disconnect
            self.watch()


class RequestBody(io.RawIOBase):
    """The request's body as a file, ``wsgi.input`` (PEP 3333), received while it is read."""

    def __init__(self, incoming: Incoming, threads: ThreadPool) -> None:
        self._incoming = incoming
        self._threads = threads
        self._position = 0

    def readable(self) -> bool:
        """Return True: the file can be read."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - typeshed's WriteableBuffer
        """Fill `buffer` with the next bytes and return how many; 0 at the end of the body.

        Raises:
            ClientDisconnected: the client disconnected before the end of the body.
            RequestTimeout: the client takes too long to send the rest.
            RequestEntityTooLarge: the body is longer than MAX_CONTENT_LENGTH.
            RuntimeError: the response began before the view read any of the body; or the bytes have
                not arrived, and a task or thread that the view started reads them.
        """
        incoming = self._incoming
        if incoming.reader is Reader.DROPPED:
            message = "a view that streams has to begin to read its request before it first yields"
            raise RuntimeError(message)
        incoming.reader = Reader.READING
        self._receive()
        size = min(len(buffer), len(incoming.unread))
        buffer[:size] = incoming.unread[:size]
        incoming.unread = incoming.unread[size:]
        self._position += size
        # Without an announced length Werkzeug stops at the limit, and treats a cut-off body as the
        # whole body. So the limit is checked here.
        if has_request_context() and self._position == request.max_content_length:
            self._receive()
            if incoming.unread:
                raise RequestEntityTooLarge
        return size

    def _receive(self) -> None:
        incoming = self._incoming
        while incoming.is_incomplete and not incoming.unread:
            if incoming.client is not CONNECTED:
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
            # On the loop other requests continue meanwhile. A waiting thread gives up its place.
            block_on(wait if is_on_loop() else self._threads.park(wait, self._rate))
        except TimeoutError as error:
            raise RequestTimeout(SLOW_BODY) from error

    def _rate(self) -> float:
        allowance = self._incoming.allowance
        return 0.0 if allowance is None else allowance.rate()
