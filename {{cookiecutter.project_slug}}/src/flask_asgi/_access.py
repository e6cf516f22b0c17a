"""Gives every request an id, and says when it is over, however it ends."""

import asyncio
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from flask import Flask, Response, current_app, g, has_app_context, request

from ._environ import ENDING, STARTED, End, Ending
from ._marks import on_loop
from ._trace import TRACE, Trace

# nginx's status for a client that closed the connection before its response. HTTP defines no such
# status, and it is never sent: it is for logs and metrics.
CLIENT_CLOSED_REQUEST = 499

# What gateways and tracers use for ids, and nothing that could forge a log line or a header.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
# W3C Trace Context section 3.2: version, trace id, parent id, flags. Ids of zeros and version ff
# are invalid; versions after 00 may go on behind the flags.
_TRACEPARENT = re.compile(
    r"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)
# What tracers add to it for themselves: section 3.3, which asks for up to 512 characters to be
# passed on.
_TRACESTATE = re.compile(r"[\t -~]{1,512}")

_PASSED_ON = {
    "X-Request-ID": "request_id",
    "traceparent": "traceparent",
    "tracestate": "tracestate",
}
_LOGGED = ("request_id", "trace_id")  # and those of the current span, where requests are traced

LONGEST_PATH = 256  # characters, percent-encoded, of the path of a request without a route
LONGEST_METHOD = 32  # characters; the longest registered one, UPDATEREDIRECTREF, has 17


@dataclass(slots=True)  # frozen, each would cost a microsecond more
class EndedRequest:
    """A request that is over."""

    method: str
    route: str | None
    path: str | None
    """Percent-encoded, and only where there is no route: paths hold ids and tokens."""
    status: int
    """`CLIENT_CLOSED_REQUEST` where the client left before there was one."""
    client: str | None
    duration_ms: float
    """From the head of the request, so with the time that its body took, to the last byte that was
    sent or, outside of `FlaskToAsgi`, to the end of the view and of a stream."""
    ids: dict[str, str]
    """As `logged_ids` gives them."""
    bytes_sent: int | None = None
    """Of the response's body. None for a stream outside of `FlaskToAsgi`: nobody counts there."""
    is_complete: bool = True
    """Whether all of the response was sent. A stream that its client left, or whose code failed,
    is not complete, although its status is 200."""


def watch_requests(app: Flask, ended: Callable[[EndedRequest], None]) -> None:
    """Give every request an id, its answer the header `X-Request-ID`, and call `ended` once.

    To be called before the application has other hooks: what they do is then part of the request.
    A further call only adds another `ended`, unless that is one already.

    Under `FlaskToAsgi` it is called on the event loop, when the last byte of the response was
    handed to the server. So it must not block.
    """
    if (ends := app.extensions.get(__name__)) is not None:
        ends.add(ended)
        return
    app.before_request(_start)
    ends = app.extensions[__name__] = _Ends(ended)
    app.after_request(ends.note_status)
    app.teardown_request(ends.tear_down)


def request_id() -> str:
    """Return the id of the current request: its caller's `X-Request-ID`, or a new one."""
    if "request_id" not in g:  # the engine's own answer: no `before_request` ran for it
        _start()
    return str(g.request_id)


def logged_ids() -> dict[str, str]:
    """Return `request_id` and `trace_id` of the current request, as far as there are any.

    Where requests are traced, `trace_id` and `span_id` are those of the current span.

    They come from Flask's context and not from a variable of our own: it is there in a sync
    view's thread, in `asyncio.to_thread` and in child tasks, which all run in copies of the
    context, and Flask takes it away at the end, also where threads are used again (WSGI).
    """
    if not has_app_context():
        return {}
    ids = {name: value for name in _LOGGED if (value := g.get(name))}
    trace: Trace | None = current_app.extensions.get(TRACE)
    return ids if trace is None else ids | trace.ids()


def ids_to_pass_on() -> list[tuple[str, str]]:
    """Return the headers that let an upstream log the ids of the current request."""
    if not has_app_context():
        return []
    ids = {name: g.get(attribute) for name, attribute in _PASSED_ON.items()}
    return [(name, value) for name, value in ids.items() if value]


@on_loop
def _start() -> None:
    g.started = request.environ.get(STARTED) or time.perf_counter()
    headers = request.headers
    given = headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    if traceparent := _TRACEPARENT.fullmatch(headers.get("traceparent", "")):
        g.traceparent, g.trace_id = traceparent[0], traceparent[1]
        if tracestate := _TRACESTATE.fullmatch(headers.get("tracestate", "")):
            g.tracestate = tracestate[0]


class _Ends:
    """Finds out when requests are over."""

    def __init__(self, ended: Callable[[EndedRequest], None]) -> None:
        self._ended = [ended]

    def add(self, ended: Callable[[EndedRequest], None]) -> None:
        if ended not in self._ended:
            self._ended.append(ended)

    @on_loop
    def note_status(self, response: Response) -> Response:
        response.headers["X-Request-ID"] = request_id()
        g.status = response.status_code
        # Its body is sent after the teardown, and `close` is called when that has ended.
        g.ends_later = response.is_streamed and not response.direct_passthrough
        if (ending := _ending()) is not None:
            ending.end = self._end(g.started, g.status)
        elif g.ends_later:
            response.call_on_close(self._end(g.started, g.status))
        else:
            g.bytes_sent = 0 if request.method == "HEAD" else response.content_length
        return response

    @on_loop
    def tear_down(self, error: BaseException | None) -> None:
        # In teardown, as the only hook that also runs when the request is cancelled. It runs again
        # after a stream with context, and for a context that somebody pushed by hand, as a shell
        # does.
        if (started := g.pop("started", None)) is None:
            return
        cancelled = isinstance(error, asyncio.CancelledError)
        otherwise = CLIENT_CLOSED_REQUEST if cancelled else HTTPStatus.INTERNAL_SERVER_ERROR
        status = g.get("status", otherwise)
        ending = _ending()
        if ending is not None and ending.end is None:  # no response was made
            ending.end = self._end(started, status)
        elif ending is None and not g.get("ends_later"):
            self._end(started, status)(g.get("bytes_sent"), is_complete=not cancelled)

    def _end(self, started: float, status: int) -> End:
        """Take what is to be said of the request now; its context may be gone when it ends."""
        rule = request.url_rule
        path = None if rule else quote(request.root_path + request.path)[:LONGEST_PATH]
        method, client, ids = request.method[:LONGEST_METHOD], request.remote_addr, logged_ids()
        route = rule.rule if rule else None

        def end(bytes_sent: int | None = None, *, is_complete: bool = True) -> None:
            duration_ms = round((time.perf_counter() - started) * 1000, 1)
            request = EndedRequest(
                method, route, path, status, client, duration_ms, ids, bytes_sent, is_complete
            )
            for ended in self._ended:
                ended(request)

        return end


def _ending() -> Ending | None:
    """Return what the engine calls when the response is sent; None if nobody does."""
    ending: Ending | None = request.environ.get(ENDING)
    return None if ending is None or ending.is_over else ending
