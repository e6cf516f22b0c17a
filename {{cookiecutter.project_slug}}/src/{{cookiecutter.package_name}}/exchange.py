"""One request and its response: an ASGI scope becomes a WSGI call, and that a response again."""

import asyncio
import contextlib
import contextvars
import io
import itertools
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from asgiref.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    HTTPResponseStartEvent,
    HTTPScope,
)

from .bodies import Incoming, RequestBody
from .concurrency import run_on_loop
from .wsgi import announced_length, awaits_continue, build_environ, declares_body

if TYPE_CHECKING:
    from .bridge import FlaskToAsgi

T = TypeVar("T")

# Bytes. A server holds as much of each request anyway, so such a body is received whole: before the
# view runs, and even if nobody reads it, to keep the connection.
SHORT_BODY = 65536
LINGER_SECONDS = 1.0  # enough for what is on its way to arrive, and for the response to leave

# Seconds. To watch for a client that goes away costs a task, which a short wait need not pay for.
LONG_WAIT = 0.1

# The environ's key for the status that a request has when its view is cancelled, if not 499.
CANCELLED_STATUS = "flask_to_asgi.cancelled_status"


class Exchange:
    """One request and its response."""

    environ: dict[str, Any]
    start_event: HTTPResponseStartEvent
    chunks: Iterator[bytes]
    response_body: Iterable[bytes] | None = None
    response_started = False
    unsent: int | None = None  # bytes of the body, where its length is known
    closed = False
    timer: asyncio.TimerHandle | None = None
    waits_long = False
    timed_out = False
    hangs_up = False

    def __init__(
        self,
        bridge: "FlaskToAsgi",
        scope: HTTPScope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
    ) -> None:
        self.bridge = bridge
        self.scope = scope
        self.send = self.server_send = send
        self.task = cast("asyncio.Task[None]", asyncio.current_task())
        self.incoming = Incoming(receive, on_disconnect=self.task.cancel)
        # The application runs in a context of its own. A server may start the next request of the
        # connection from within `receive` or `send`, which therefore keep the server's.
        self.context = contextvars.copy_context()
        self.written: list[bytes] = []

    async def run(self) -> None:
        """Answer the request, unless its client goes away.

        Raises:
            CancelledError: the server stops.
        """
        try:
            request_body: io.IOBase = io.BytesIO()
            if declares_body(self.scope):
                self.incoming.awaits_continue = awaits_continue(self.scope)
                self.send = self.send_and_perhaps_hang_up
                request_body = RequestBody(self.incoming)
                if self.has_short_body():
                    request_body = await self.receive_short_body()
            else:
                await self.incoming.receive()
            if not (self.incoming.disconnected or self.timed_out):
                await self.respond(request_body)
        except asyncio.CancelledError:
            if self.incoming.disconnected:  # there is nobody to answer
                self.task.uncancel()
            elif self.timed_out and not self.response_started:
                self.task.uncancel()
                detail = f"The request took longer than {self.bridge.request_timeout:g} s."
                await refuse(self.send, HTTPStatus.GATEWAY_TIMEOUT, detail)
            else:  # the server stops
                raise
        finally:
            self.incoming.stop()
            if self.timer is not None:
                self.timer.cancel()

    def has_short_body(self) -> bool:
        """Tell whether to receive the request's body before the view runs."""
        limit = self.bridge.app.config["MAX_CONTENT_LENGTH"]
        longest = SHORT_BODY if limit is None else min(SHORT_BODY, limit)
        length = announced_length(self.scope)
        return length is not None and length <= longest and not self.incoming.awaits_continue

    async def receive_short_body(self) -> io.BytesIO:
        """Return the whole body as a file, or answer 408 if it does not arrive in time.

        So a slow client holds no thread, and whatever the view starts can read the body as well.
        """
        try:
            async with asyncio.timeout(self.bridge.request_timeout):
                return io.BytesIO(await self.incoming.receive_all())
        except TimeoutError:
            self.timed_out = True
            detail = f"The body took longer than {self.bridge.request_timeout:g} s to arrive."
            close = ("connection", "close")  # RFC 9110 section 15.5.9
            await refuse(self.send, HTTPStatus.REQUEST_TIMEOUT, detail, close)
            return io.BytesIO()

    async def respond(self, request_body: io.IOBase) -> None:
        """Call the application where it belongs, and send what it answers."""
        try:
            limit = self.bridge.duplicate_header_limit
            environ = self.environ = build_environ(self.scope, request_body, limit)
        except ValueError:
            detail = "A header is repeated too often."
            await refuse(self.send, HTTPStatus.BAD_REQUEST, detail)
            return
        if self.bridge.has_async_view(environ):
            run = self.run_on_loop
        elif self.bridge.threads.is_full():
            await refuse_for_load(self.send)
            return
        else:
            run = self.run_in_thread
        try:
            chunk = await run(self.call_application)
            self.response_started = True
            await self.send(self.start_event)
            if not self.closed:
                self.incoming.drop_unless_wanted()
            while not self.closed:
                self.incoming.watch()
                await self.send({"type": "http.response.body", "body": chunk, "more_body": True})
                chunk = await run(self.next_chunk)
            await self.send({"type": "http.response.body", "body": chunk, "more_body": False})
        finally:
            if self.response_body is not None and not self.closed:
                await run(self.close)

    async def send_and_perhaps_hang_up(self, message: ASGISendEvent) -> None:
        """Send; a response that leaves the request's body unread is the connection's last.

        Otherwise the server would receive the rest, however long. Worse, a client that was never
        asked for its body may go on with its next request, which the server takes for that body.
        """
        if message["type"] == "http.response.start" and self.leaves_body_unread():
            self.hangs_up = True
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        if self.hangs_up and message["type"] == "http.response.body" and not message["more_body"]:
            await self.server_send({**message, "more_body": True})
            message["body"] = b""
            # Closed on a client that still sends, the connection is reset, and the response lost:
            # RFC 9112 section 9.6.
            if not self.incoming.awaits_continue:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.incoming.discard(), LINGER_SECONDS)
        await self.server_send(message)

    def leaves_body_unread(self) -> bool:
        """Tell whether more of the request's body may be to come than is worth receiving."""
        if not (self.incoming.more and self.scope["http_version"].startswith("1")):
            return False
        length = announced_length(self.scope)
        return self.incoming.awaits_continue or length is None or length > SHORT_BODY

    def run_on_loop(self, call: Callable[[], T]) -> Awaitable[T]:
        """Return the outcome of `call`, run on the loop in the application's context."""
        return run_on_loop(call, self.context, on_wait=self.on_wait)

    def on_wait(self) -> None:
        """Take care, while the view waits, of what else may happen to its request."""
        if self.timer is None:
            loop = asyncio.get_running_loop()
            self.timer = loop.call_later(LONG_WAIT, self.on_long_wait)
        elif self.waits_long:
            self.incoming.watch()

    def on_long_wait(self) -> None:
        """Watch whether the client stays, and begin to count the time that the view has."""
        self.waits_long = True
        self.incoming.watch()
        if (timeout := self.bridge.request_timeout) is not None:
            loop = asyncio.get_running_loop()
            self.timer = loop.call_later(max(0, timeout - LONG_WAIT), self.on_timeout)

    def on_timeout(self) -> None:
        """Cancel the view, if it has not begun to respond."""
        if not self.response_started:
            self.timed_out = True
            self.environ[CANCELLED_STATUS] = HTTPStatus.GATEWAY_TIMEOUT
            self.task.cancel()

    def run_in_thread(self, call: Callable[[], T]) -> Awaitable[T]:
        """Return the outcome of `call`, run in a thread in the application's context."""
        return self.bridge.threads.run(call, self.context)

    def call_application(self) -> bytes:
        """Return the first part of the response's body."""
        self.response_body = self.bridge.wsgi_application(self.environ, self.start_response)
        self.chunks = itertools.chain(self.written, self.response_body)
        return self.next_chunk()

    def next_chunk(self) -> bytes:
        """Return the next part of the body; with its last part, which may be empty, close it.

        So an ordinary response, which has one part, takes one call and one message.
        """
        chunk = next(filter(None, self.chunks), b"")
        if self.unsent is not None:
            if len(chunk) > self.unsent:
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
        self.start_event = _start_event(int(status[:3]), headers)
        self.unsent = None
        for name, value in self.start_event["headers"]:
            if name == b"content-length":
                self.unsent = int(value)
        return self.written.append


async def refuse_for_load(send: ASGISendCallable, *headers: tuple[str, str]) -> None:
    """Answer that there is too much to do, and when to come back (RFC 9110 section 10.2.3)."""
    # A second is long enough for a burst to pass, and short enough not to lose a client.
    detail = "The service has as many requests under way as it can take."
    await refuse(send, HTTPStatus.SERVICE_UNAVAILABLE, detail, ("retry-after", "1"), *headers)


async def refuse(
    send: ASGISendCallable, status: HTTPStatus, detail: str, *headers: tuple[str, str]
) -> None:
    """Answer without asking the application, with a problem (RFC 9457)."""
    body = json.dumps({"title": status.phrase, "status": status, "detail": detail}).encode()
    content = [("content-type", "application/problem+json"), ("content-length", str(len(body)))]
    await send(_start_event(status, [*content, *headers]))
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _start_event(status: int, headers: Iterable[tuple[str, str]]) -> HTTPResponseStartEvent:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
        ],
        "trailers": False,
    }
