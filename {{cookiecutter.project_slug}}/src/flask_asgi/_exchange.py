"""One request and its response: turns an ASGI scope into a WSGI call, and sends its response."""

import asyncio
import contextlib
import contextvars
import functools
import io
import time
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Any, TypeVar, cast

from asgiref.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPResponseStartEvent,
    HTTPScope,
)
from flask import has_request_context
from werkzeug.exceptions import (
    BadRequest,
    GatewayTimeout,
    HTTPException,
    InternalServerError,
    RequestTimeout,
    ServiceUnavailable,
)

from ._engine import Engine
from ._environ import (
    CANCELLED,
    ENDING,
    LATE_RESPONSE,
    STARTED,
    THREADS,
    Ending,
    announced_length,
    awaits_continue,
    build_environ,
    declares_body,
    repeats_a_header,
)
from ._greenlets import run_on_loop
from ._observer import CancelReason, ShedReason
from ._patience import Patience, Wait
from ._refusals import refuse
from ._request_body import COMPLETE, GONE, SLOW_BODY, WITHHELD, Incoming, Reader, RequestBody
from ._visits import Visits
from ._wsgi_response import Application, WsgiResponse

T = TypeVar("T")

# Bytes. A server buffers this much of each request anyway, so a body up to this length is received
# whole before the view runs. It is received even if no view reads it, to keep the connection open.
SHORT_BODY = 65536

# Seconds: enough for bytes on their way to arrive, and for the response to leave.
LINGER_SECONDS = 1.0

# Seconds: long enough for a burst to pass, and short enough not to lose a client.
RETRY_AFTER = 1


class Connection(Enum):
    """The end or the reuse of an HTTP/1 connection after the response."""

    KEEP = auto()
    CLOSE = auto()
    LINGER = auto()  # receive the bytes still on their way, then close it: RFC 9112 section 9.6


KEEP = Connection.KEEP  # a global, for speed: see `Body` in `_request_body`


class Exchange:
    """One request and its response, on the server's loop.

    `run` serves the request. With `on_wait` and `on_cancel` this object is the `Observer` of the
    calls that it runs on the loop.
    """

    environ: dict[str, Any] | None = None
    response: WsgiResponse | None = None
    patience: Patience | None = None  # set at the first wait of the view
    visits: Visits | None = None  # set once a thread works for the request
    is_overdue = False  # the time limit has passed while the thread was busy
    bytes_sent = 0  # of the response's body
    is_complete = False  # all of the response was sent
    connection = KEEP

    def __init__(
        self,
        engine: Engine,
        scope: HTTPScope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
    ) -> None:
        self.started = time.perf_counter()
        self.ending = Ending()
        self.engine = engine
        self.scope = scope
        self.server_send = send
        self.task = cast("asyncio.Task[None]", asyncio.current_task())
        is_spare = scope["path"] in engine.always_answer
        self.threads = engine.spare_threads if is_spare else engine.threads
        self.incoming = Incoming(receive, on_disconnect=self.task.cancel)
        # The application runs in a copy of the server's context. A server may start the next
        # request of the connection from within `receive` or `send`, which must therefore not see
        # the variables that the application sets.
        self.context = contextvars.copy_context()

    async def run(self) -> None:
        """Answer the request, unless its client disconnects.

        Raises:
            RuntimeError: the application raised `SystemExit`, or waited for a task that was
                cancelled by code outside of the request. The client has been answered 500 if no
                response had begun.
            KeyboardInterrupt: the application raised it.
        """
        try:
            if declares_body(self.scope):
                request_body = await self.receive_body()
            else:
                request_body = io.BytesIO()
                await self.incoming.receive()
            if request_body is not None and self.incoming.client is not GONE:
                await self.respond(request_body)
        except asyncio.CancelledError as error:
            await self.end_cancelled(error)
        except (SystemExit, KeyboardInterrupt) as error:
            if not self.has_begun():
                await self.refuse(InternalServerError())
            if isinstance(error, KeyboardInterrupt):  # left to the server, as in Flask
                raise
            message = f"{error!r} would have ended the server"
            raise RuntimeError(message) from error
        finally:
            self.incoming.stop()
            if self.patience is not None:
                self.patience.stop()
                self.patience = None  # it refers to this object: together they form a cycle
            if self.visits is not None:
                self.threads.release(self.visits)
                self.visits = None  # the same
            self.tell_end()

    async def run_refusal(self, reason: ShedReason) -> None:
        """Only call `refuse_for_load`."""
        try:
            await self.refuse_for_load(reason)
        finally:
            self.tell_end()

    def tell_end(self) -> None:
        """Run the callback that the application has set for the end: see `_access`."""
        ending = self.ending
        ending.is_over = True
        if ending.end is not None:
            ending.end(self.bytes_sent, is_complete=self.is_complete)

    async def refuse_for_load(self, reason: ShedReason) -> None:
        """Answer 503 because too many requests are in flight, with `Retry-After` in seconds.

        RFC 9110 section 10.2.3 defines that header.
        """
        self.engine.observer.request_shed(reason)
        if declares_body(self.scope):  # left unread, it would be taken for the next request
            self.connection = Connection.CLOSE
        detail = "The server has reached its limit of requests in flight."
        await self.refuse(ServiceUnavailable(detail, retry_after=RETRY_AFTER))

    async def receive_body(self) -> io.IOBase | None:
        """Return the request's body as a file; None if it took too long and was answered 408.

        A short body is received whole. So a slow client holds no thread, and tasks that the view
        starts can read the body too.
        """
        timeout = self.engine.request_timeout
        self.incoming.expect_body(timeout, withheld=awaits_continue(self.scope))
        if not self.has_short_body():
            return RequestBody(self.incoming, self.engine.threads)
        try:
            async with asyncio.timeout(timeout):
                return io.BytesIO(await self.incoming.receive_all())
        except TimeoutError:
            self.connection = Connection.CLOSE  # RFC 9110 section 15.5.9
            detail = f"The body took longer than {timeout:g} s to arrive."
            await self.refuse(RequestTimeout(detail))
            return None

    def has_short_body(self) -> bool:
        """Tell whether to receive the request's body before the view runs."""
        limit = self.engine.app.config["MAX_CONTENT_LENGTH"]
        longest = SHORT_BODY if limit is None else min(SHORT_BODY, limit)
        length = announced_length(self.scope)
        is_withheld = self.incoming.body is WITHHELD
        return length is not None and length <= longest and not is_withheld

    async def respond(self, request_body: io.IOBase) -> None:
        """Call the application on the loop or in a thread, and send its response."""
        engine = self.engine
        environ = self.start_environ(request_body)
        environ[THREADS] = self.threads
        if "upgrade" in environ.get("HTTP_CONNECTION", "").lower():
            # Not every server continues to parse HTTP after such a request: uvicorn with httptools
            # takes its body for the next request.
            self.connection = Connection.CLOSE
        if repeats_a_header(self.scope, engine.duplicate_header_limit):
            await self.refuse(BadRequest("A header is repeated too often."))
        elif engine.placement.is_on_loop(environ):
            await self.send_response(engine.wsgi_application, self.run_on_loop)
        elif self.threads.is_full():
            await self.refuse_for_load("threads")
        else:
            await self.send_response(engine.wsgi_application, self.run_in_thread)

    def start_environ(self, request_body: io.IOBase) -> dict[str, Any]:
        """Set and return the environ."""
        environ = self.environ = build_environ(self.scope, request_body)
        environ[STARTED] = self.started
        environ[ENDING] = self.ending
        return environ

    async def refuse(self, error: HTTPException) -> None:
        """Answer with `error`, without calling a view."""
        if self.environ is None:
            self.start_environ(io.BytesIO())
        application = functools.partial(refuse, self.engine.app, error)
        if self.engine.placement.is_free_of_blocking():
            await self.send_response(application, self.run_on_loop)
        else:
            await self.send_response(application, self.run_in_spare_thread)

    async def send_response(
        self, application: Application, run: Callable[[Callable[[], Any]], Awaitable[Any]]
    ) -> None:
        """Send the response of `application`, whose code `run` runs on the loop or in a thread."""
        environ: dict[str, Any] = self.environ  # type: ignore[assignment] # set by the caller
        response = self.response = WsgiResponse(environ, self.engine.app)
        send = self.server_send
        try:
            # No `functools.partial`: a request that waits keeps the C stack of its calls, and calls
            # from Python to Python take none.
            chunk = await run(lambda: response.begin(application))
            response.head_is_sent = True
            lingers = False
            if self.incoming.body is not COMPLETE or self.connection is not KEEP:
                lingers = self.end_connection(response.start)
            await send(response.start)
            if not response.is_closed:
                self.incoming.drop_unless_read()
            while not response.is_closed:
                self.incoming.watch()
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                self.bytes_sent += len(chunk)
                chunk = await run(response.next_chunk)
            self.bytes_sent += len(chunk)
            if lingers:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await self.linger()
                chunk = b""
            await send({"type": "http.response.body", "body": chunk, "more_body": False})
            self.is_complete = True
        finally:
            if not response.is_closed and response.parts is not None:
                await run(response.close)

    def has_begun(self) -> bool:
        """Tell whether the response has begun, and can no longer be replaced by another one."""
        return self.response is not None and self.response.head_is_sent

    def end_connection(self, start: HTTPResponseStartEvent) -> bool:
        """Make the response the connection's last if necessary. Return whether to `linger`.

        It is necessary if part of the request's body is unread. The server would receive the rest,
        however long. Worse, a client that was never asked for its body may send its next request,
        which the server would take for that body.
        """
        if not self.scope["http_version"].startswith("1"):
            return False  # HTTP/2 and later end a stream, not the connection
        if self.leaves_body_unread():
            self.connection = Connection.LINGER
        if self.connection is not KEEP:
            start["headers"] = [*start["headers"], (b"connection", b"close")]
        return self.connection is Connection.LINGER

    def leaves_body_unread(self) -> bool:
        """Tell whether the rest of the request's body may be too long to be worth receiving."""
        if not self.incoming.is_incomplete:
            return False
        length = announced_length(self.scope)
        is_withheld = self.incoming.body is WITHHELD
        return is_withheld or length is None or length > SHORT_BODY

    async def linger(self) -> None:
        """Receive for a moment the bytes that the client still sends, then close the connection.

        Closing it at once would reset it, and the client would lose the response: RFC 9112 section
        9.6.
        """
        if self.incoming.body is not WITHHELD:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.incoming.discard(), LINGER_SECONDS)

    async def end_cancelled(self, error: asyncio.CancelledError) -> None:
        """Answer a request whose view was cancelled, if its client still waits.

        Raises:
            RuntimeError: the request itself was not cancelled, only a task that it waited for.
        """
        if not self.task.cancelling():
            message = "the response waited for a task that other code had cancelled"
            raise RuntimeError(message) from error
        self.task.uncancel()
        if self.environ is not None:
            self.engine.observer.request_cancelled(self.cancel_reason())
        if self.incoming.is_disconnected or self.has_begun() or self.environ is None:
            return
        self.connection = Connection.CLOSE
        response = self.environ.pop(LATE_RESPONSE, None)
        if response is None:  # it was not the view that waited, or the teardown failed
            await self.refuse(self.why_cancelled())
        else:
            await self.send_response(response, self.run_on_loop)

    def cancel_reason(self) -> CancelReason:
        """Return why the request was cancelled."""
        if self.incoming.is_disconnected:
            return "disconnect"
        is_late = self.patience is not None and self.patience.wait is Wait.OVER
        return "timeout" if is_late else "stop"

    def why_cancelled(self) -> HTTPException:
        """Return the answer to a cancelled request whose client still waits: 408, 503 or 504."""
        if self.cancel_reason() == "stop":
            return ServiceUnavailable("The server is stopping.")
        if self.incoming.reader is Reader.WAITING:
            return RequestTimeout(SLOW_BODY)
        return GatewayTimeout(f"The request took longer than {self.engine.request_timeout:g} s.")

    def run_on_loop(self, call: Callable[[], T]) -> Awaitable[T]:
        """Return the result of `call`, run on the loop in the application's context."""
        return run_on_loop(call, self.context, self)

    async def run_in_thread(self, call: Callable[[], T]) -> T:
        """Return the result of `call`, run in a thread in the application's context."""
        if self.visits is None:
            loop = asyncio.get_running_loop()
            # Keep the thread as long as Flask's context exists: the request's functions share it.
            self.visits = Visits(loop, self, self.threads, keeps_thread=has_request_context)
        return await self.threads.run(call, self.context, self.visits)

    def run_in_spare_thread(self, call: Callable[[], T]) -> Awaitable[T]:
        """Do the same for a refusal."""
        return self.engine.spare_threads.run(call, self.context)

    def on_wait(self) -> None:
        """Start to time the view, which is about to wait on the loop: see `Patience`."""
        if self.patience is None:
            timeout = self.engine.request_timeout
            self.patience = Patience(self.incoming, timeout, self.on_timeout)
        else:
            self.patience.on_wait()
            if self.is_overdue:
                self.is_overdue = False
                self.on_timeout()

    def on_timeout(self) -> None:
        """Cancel a view that has not begun to respond; in a thread once it waits for the loop."""
        if self.visits is not None and self.visits.task is None:  # busy in its thread
            self.is_overdue = True
        elif not self.has_begun():
            self.task.cancel()

    def on_cancel(self) -> None:
        """Tell the teardown how a view that is about to be cancelled is answered."""
        if self.environ is not None and self.task.cancelling() and not self.has_begun():
            is_alone = self.incoming.is_disconnected
            self.environ[CANCELLED] = None if is_alone else self.why_cancelled()
