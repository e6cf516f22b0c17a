"""Gives every request an id, and reports its end, however it ends."""

import asyncio
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from flask import Flask, Request, Response, has_app_context, request
from flask.ctx import AppContext
from flask.globals import app_ctx

from ._environ import ENDING, STARTED, End, Ending
from ._marks import on_loop
from ._trace import TRACE, Trace

# nginx's status for a client that closed the connection before its response. HTTP defines no such
# status, and it is never sent: it is for logs and metrics.
CLIENT_CLOSED_REQUEST = 499

# The characters that gateways and tracers use in ids. None can forge a log line or a header.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
# W3C Trace Context section 3.2: version, trace id, parent id, flags. Ids of zeros and version ff
# are invalid; versions after 00 may have more fields after the flags.
_TRACEPARENT = re.compile(
    r"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)
# `tracestate`, the tracers' own data: section 3.3, which asks for up to 512 characters to be passed
# on.
_TRACESTATE = re.compile(r"[\t -~]{1,512}")

_WATCHED = "flask_asgi_watched"  # in `g`

LONGEST_PATH = 256  # characters, percent-encoded, of the path of a request without a route
LONGEST_METHOD = 32  # characters; the longest registered one, UPDATEREDIRECTREF, has 17


@dataclass(slots=True)  # frozen, each would cost a microsecond more
class EndedRequest:
    """A request that is over."""

    method: str
    route: str | None
    path: str | None
    """Percent-encoded. None for a request with a route, because paths hold ids and tokens."""
    status: int
    """`CLIENT_CLOSED_REQUEST` if the client disconnected before there was a status."""
    client: str | None
    duration_ms: float
    """From the head of the request, so its body is included, to the last byte that was sent.
    Outside of `FlaskToAsgi` to the end of the view and of a stream."""
    find_ids: Callable[[], dict[str, str]]
    bytes_sent: int | None = None
    """Of the response's body. None for a stream outside of `FlaskToAsgi`, which is not counted."""
    is_complete: bool = True
    """Whether all of the response was sent. A stream is not complete if its client disconnected or
    its code failed, although its status is 200."""

    @property
    def ids(self) -> dict[str, str]:
        """The ids for the log, as `logged_ids` gave them in the request. Built on each call."""
        return self.find_ids()


def watch_requests(app: Flask, ended: Callable[[EndedRequest], None]) -> None:
    """Give every request an id and its response `X-Request-ID`; call `ended` once per request.

    Call it before the application has other hooks, so that their time is part of the request. A
    further call only adds its `ended`, unless that function was added before.

    Under `FlaskToAsgi`, `ended` is called on the event loop, when the last byte of the response was
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
    return _watched(_app_context()).ids["request_id"]


def logged_ids() -> dict[str, str]:
    """Return `request_id` and `trace_id` of the current request, each only if it has one.

    Where requests are traced, `trace_id` and `span_id` are those of the current span.

    They are kept in Flask's context, not in a separate context variable. A sync view's thread,
    `asyncio.to_thread` and child tasks run in copies of that context, so they see the ids. Flask
    removes its context at the end of the request, also where threads are reused (WSGI).
    """
    return _ids(_app_context()) if has_app_context() else {}


def add_logged_ids(**ids: str) -> None:
    """Add ids to those of `logged_ids` for the current request, such as the caller's name."""
    _watched(_app_context()).ids.update(ids)


def ids_to_pass_on() -> list[tuple[str, str]]:
    """Return the headers that let an upstream log the ids of the current request."""
    watched: _Watched | None = _app_context().g.get(_WATCHED) if has_app_context() else None
    return [] if watched is None else [*watched.passed_on]


class _Watched:
    """The data about a request that is kept in `g`."""

    __slots__ = ("bytes_sent", "ids", "is_over", "passed_on", "started", "status", "tells_later")

    def __init__(self, environ: dict[str, Any]) -> None:
        self.started: float = environ.get(STARTED) or time.perf_counter()
        given = environ.get("HTTP_X_REQUEST_ID")
        request_id = given if given and _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
        self.ids: dict[str, str] = {"request_id": request_id}  # for the log
        self.passed_on = [("X-Request-ID", request_id)]
        if traceparent := _TRACEPARENT.fullmatch(environ.get("HTTP_TRACEPARENT", "")):
            self.ids["trace_id"] = traceparent[1]
            self.passed_on.append(("traceparent", traceparent[0]))
            if tracestate := _TRACESTATE.fullmatch(environ.get("HTTP_TRACESTATE", "")):
                self.passed_on.append(("tracestate", tracestate[0]))
        self.status: int | None = None  # until there is a response
        self.bytes_sent: int | None = None
        self.tells_later = False  # the request ends with its response, after the teardown
        self.is_over = False


def _watched(context: AppContext) -> _Watched:
    """Return the data about the current request. The engine's own responses have no `_start`."""
    watched: _Watched | None = context.g.get(_WATCHED)
    return _begin(context) if watched is None else watched


def _begin(context: AppContext) -> _Watched:
    watched = _Watched(current_request().environ)
    setattr(context.g, _WATCHED, watched)
    return watched


def _ids(context: AppContext) -> dict[str, str]:
    watched: _Watched | None = context.g.get(_WATCHED)
    ids = {} if watched is None else watched.ids
    trace: Trace | None = context.app.extensions.get(TRACE)
    return ids.copy() if trace is None else ids | trace.current_ids()()


def _ids_later(context: AppContext) -> Callable[[], dict[str, str]]:
    """Return a function that writes these ids. Most requests have no log line that needs them."""
    ids = _watched(context).ids
    trace: Trace | None = context.app.extensions.get(TRACE)
    if trace is None:
        return ids.copy
    current_ids = trace.current_ids()
    return lambda: ids | current_ids()


# The proxies that Flask documents, such as `g`, take ten times as long for each attribute.


def current_request() -> Request:
    """Return the current request itself."""
    return request._get_current_object()  # type: ignore[attr-defined,no-any-return] # noqa: SLF001 - Werkzeug's documented way


def _app_context() -> AppContext:
    return app_ctx._get_current_object()  # type: ignore[attr-defined,no-any-return] # noqa: SLF001 - as above


@on_loop
def _start() -> None:
    _begin(_app_context())  # again: several requests of a test can share a context


class _Ends:
    """Finds out when requests are over."""

    def __init__(self, ended: Callable[[EndedRequest], None]) -> None:
        self._ended = [ended]

    def add(self, ended: Callable[[EndedRequest], None]) -> None:
        if ended not in self._ended:
            self._ended.append(ended)

    @on_loop
    def note_status(self, response: Response) -> Response:
        context, request = _app_context(), current_request()
        watched = _watched(context)
        response.headers.set("X-Request-ID", watched.ids["request_id"])
        status = watched.status = response.status_code
        watched.tells_later = True
        if (ending := _ending(request)) is not None:
            ending.end = self._end(context, request, status)
        elif response.is_streamed and not response.direct_passthrough:
            # Its body is sent after the teardown, and `close` is called when that has ended.
            response.call_on_close(self._end(context, request, status))
        else:
            watched.tells_later = False
            watched.bytes_sent = 0 if request.method == "HEAD" else response.content_length
        return response

    @on_loop
    def tear_down(self, error: BaseException | None) -> None:
        # In teardown: it is the only hook that also runs when the request is cancelled. It runs
        # again after a stream with context, and for a context that was pushed by hand, as a shell
        # does.
        context = _app_context()
        watched: _Watched | None = context.g.get(_WATCHED)
        if watched is None or watched.is_over:
            return
        watched.is_over = True
        if watched.tells_later:
            return
        request, cancelled = current_request(), isinstance(error, asyncio.CancelledError)
        otherwise = CLIENT_CLOSED_REQUEST if cancelled else HTTPStatus.INTERNAL_SERVER_ERROR
        status = otherwise if watched.status is None else watched.status
        end = self._end(context, request, status)
        if (ending := _ending(request)) is not None:  # no response was made
            ending.end = end
        else:
            end(watched.bytes_sent, is_complete=not cancelled)

    def _end(self, context: AppContext, request: Request, status: int) -> End:
        """Collect the data for the report now; the context may be gone when the request ends."""
        rule = request.url_rule
        path = None if rule else quote(request.root_path + request.path)[:LONGEST_PATH]
        method, client = request.method[:LONGEST_METHOD], request.remote_addr
        route, started = rule.rule if rule else None, _watched(context).started
        find_ids = _ids_later(context)

        def end(bytes_sent: int | None = None, *, is_complete: bool = True) -> None:
            duration_ms = round((time.perf_counter() - started) * 1000, 1)
            request = EndedRequest(
                method, route, path, status, client, duration_ms, find_ids, bytes_sent, is_complete
            )
            for ended in self._ended:
                ended(request)

        return end


def _ending(request: Request) -> Ending | None:
    """Return the object whose `end` the engine calls later; None if no call will come."""
    ending: Ending | None = request.environ.get(ENDING)
    return None if ending is None or ending.is_over else ending
