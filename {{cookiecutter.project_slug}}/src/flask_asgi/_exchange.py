"""One request and its response: an ASGI scope becomes a WSGI call, and that a response again."""

import asyncio
import contextlib
import contextvars
import functools
import io
import itertools
from collections.abc import Awaitable, Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from asgiref.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    HTTPResponseStartEvent,
    HTTPScope,
)
from werkzeug.exceptions import (
    BadRequest,
    GatewayTimeout,
    HTTPException,
    InternalServerError,
    RequestTimeout,
    ServiceUnavailable,
)

from ._bodies import SLOW_BODY, Incoming, RequestBody
from ._environ import (
    announced_length,
    awaits_continue,
    build_environ,
    declares_body,
    repeats_a_header,
)
from ._greenlets import run_on_loop
from ._refusals import CANCELLED, LATE_RESPONSE, LEFTOVERS, break_cycles, refuse

if TYPE_CHECKING:
    from ._bridge import FlaskToAsgi

T = TypeVar("T")

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

# Bytes. A server holds as much of each request anyway, so such a body is received whole: before the
# view runs, and even if nobody reads it, to keep the connection.
SHORT_BODY = 65536
LINGER_SECONDS = 1.0  # enough for what is on its way to arrive, and for the response to leave

# Seconds. To watch for a client that goes away costs a task, which a short wait need not pay for.
LONG_WAIT = 0.1

# Seconds. Long enough for a burst to pass, and short enough not to lose a client.
RETRY_AFTER = 1


class Exchange:
    """One request and its response."""

    environ: dict[str, Any] | None = None
    start_event: HTTPResponseStartEvent
    chunks: Iterator[bytes]
    response_body: Iterable[bytes] | None = None
    response_started = False
    unsent: int | None = None  # bytes of the body, where its length is known
    closed = False
    timer: asyncio.TimerHandle | None = None
    waits_long = False
    timed_out = False
    has_body = False
    must_close = False  # the connection, whatever becomes of the request's body
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
        self.server_send = send
        self.task = cast("asyncio.Task[None]", asyncio.current_task())
        self.incoming = Incoming(receive, on_disconnect=self.task.cancel)
        # The application runs in a context of its own. A server may start the next request of the
        # connection from within `receive` or `send`, which therefore keep the server's.
        self.context = contextvars.copy_context()
        self.written: list[bytes] = []

    async def run(self) -> None:
        """Answer the request, unless its client goes away."""
        try:
            request_body: io.IOBase = io.BytesIO()
            if declares_body(self.scope):
                self.has_body = True
                self.incoming.expect_body(self.bridge.request_timeout)
                self.incoming.awaits_continue = awaits_continue(self.scope)
                request_body = RequestBody(self.incoming, self.bridge.threads)
                if self.has_short_body():
                    request_body = await self.receive_short_body()
            else:
                await self.incoming.receive()
            if not (self.incoming.disconnected or self.timed_out):
                await self.respond(request_body)
        except asyncio.CancelledError as error:
            await self.end_cancelled(error)
        except (SystemExit, KeyboardInterrupt) as error:
            if not self.response_started:
                await self.refuse(InternalServerError())
            if isinstance(error, KeyboardInterrupt):  # as in Flask, it is the server's to handle
                raise
            message = f"{error!r} would have ended the server"
            raise RuntimeError(message) from error
        finally:
            self.incoming.stop()
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None  # it holds this object, which would hold it

    async def refuse_for_load(self) -> None:
        """Answer that there is too much to do, and when to come back (RFC 9110 section 10.2.3)."""
        # A body that nobody reads must not be taken for the next request.
        self.must_close = declares_body(self.scope)
        detail = "The service has as many requests under way as it can take."
        await self.refuse(ServiceUnavailable(detail, retry_after=RETRY_AFTER))

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
            self.must_close = True  # RFC 9110 section 15.5.9
            detail = f"The body took longer than {self.bridge.request_timeout:g} s to arrive."
            await self.refuse(RequestTimeout(detail))
            return io.BytesIO()

    async def respond(self, request_body: io.IOBase) -> None:
        """Call the application where it belongs, and send what it answers."""
        environ = self.environ = build_environ(self.scope, request_body)
        # Not every server goes on with HTTP behind such a request as the application does: uvicorn
        # with httptools takes its body for the next one.
        self.must_close = "upgrade" in environ.get("HTTP_CONNECTION", "").lower()
        if repeats_a_header(self.scope, self.bridge.duplicate_header_limit):
            await self.refuse(BadRequest("A header is repeated too often."))
        elif self.bridge.has_async_view(environ):
            await self.send_response(self.bridge.wsgi_application, self.run_on_loop)
        elif self.bridge.threads.is_full():
            await self.refuse_for_load()
        else:
            await self.send_response(self.bridge.wsgi_application, self.run_in_thread)

    async def refuse(self, error: HTTPException) -> None:
        """Answer with `error`, without asking a view."""
        if self.environ is None:
            self.environ = build_environ(self.scope, io.BytesIO())
        application = functools.partial(refuse, self.bridge.app, error)
        await self.send_response(application, self.run_on_loop)

    async def send_response(
        self, application: Application, run: Callable[[Callable[[], Any]], Awaitable[Any]]
    ) -> None:
        """Send what `application` answers; `run` says where it runs."""
        send = self.server_send
        if self.has_body or self.must_close:
            send = self.send_and_perhaps_hang_up
        try:
            chunk = await run(functools.partial(self.call, application))
            self.response_started = True
            await send(self.start_event)
            if not self.closed:
                self.incoming.drop_unless_wanted()
            while not self.closed:
                self.incoming.watch()
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                chunk = await run(self.next_chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": False})
        finally:
            if self.response_body is not None and not self.closed:
                await run(self.close)

    async def end_cancelled(self, error: asyncio.CancelledError) -> None:
        """Answer a request whose view was cancelled, if there is somebody to answer.

        Raises:
            RuntimeError: nobody has cancelled the request. Something that it waited for was.
        """
        if not self.task.cancelling():
            message = "the response waited for a task that somebody else had cancelled"
            raise RuntimeError(message) from error
        self.task.uncancel()
        if self.incoming.disconnected or self.response_started or self.environ is None:
            return
        self.must_close = True
        response = self.environ.pop(LATE_RESPONSE, None)
        if response is None:  # it was not the view that waited, or the teardown failed
            await self.refuse(self.why_cancelled())
        else:
            await self.send_response(response, self.run_on_loop)

    def why_cancelled(self) -> HTTPException:
        """Return what to answer a request that was cancelled, while its client still waits."""
        if not self.timed_out:
            return ServiceUnavailable("The service stops.")
        if self.incoming.awaited:
            return RequestTimeout(SLOW_BODY)
        return GatewayTimeout(f"The request took longer than {self.bridge.request_timeout:g} s.")

    async def send_and_perhaps_hang_up(self, message: ASGISendEvent) -> None:
        """Send; a response that leaves the request's body unread is the connection's last.

        Otherwise the server would receive the rest, however long. Worse, a client that was never
        asked for its body may go on with its next request, which the server takes for that body.
        """
        if message["type"] == "http.response.start" and self.is_http_1():
            self.hangs_up = self.leaves_body_unread()
            if self.hangs_up or self.must_close:
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

    def is_http_1(self) -> bool:
        """Tell whether a connection carries one request after another, and may be closed."""
        return self.scope["http_version"].startswith("1")

    def leaves_body_unread(self) -> bool:
        """Tell whether more of the request's body may be to come than is worth receiving."""
        if not (self.has_body and self.incoming.more):
            return False
        length = announced_length(self.scope)
        return self.incoming.awaits_continue or length is None or length > SHORT_BODY

    def run_on_loop(self, call: Callable[[], T]) -> Awaitable[T]:
        """Return the outcome of `call`, run on the loop in the application's context."""
        return run_on_loop(call, self.context, self)

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
        if not (self.response_started or self.timed_out):
            self.timed_out = True
            self.task.cancel()

    def on_cancel(self) -> None:
        """Note for the teardown what a view that is about to be cancelled answers."""
        if self.environ is not None and self.task.cancelling() and not self.response_started:
            is_alone = self.incoming.disconnected
            self.environ[CANCELLED] = None if is_alone else self.why_cancelled()

    def run_in_thread(self, call: Callable[[], T]) -> Awaitable[T]:
        """Return the outcome of `call`, run in a thread in the application's context."""
        return self.bridge.threads.run(call, self.context)

    def call(self, application: Application) -> bytes:
        """Return the first part of the response's body."""
        environ: dict[str, Any] = self.environ  # type: ignore[assignment] # it is set
        try:
            self.response_body = application(environ, self.start_response)
        finally:
            if (leftovers := environ.pop(LEFTOVERS, None)) is not None:
                break_cycles(leftovers)
                del leftovers
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


def _start_event(status: int, headers: Iterable[tuple[str, str]]) -> HTTPResponseStartEvent:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
        ],
        "trailers": False,
    }
