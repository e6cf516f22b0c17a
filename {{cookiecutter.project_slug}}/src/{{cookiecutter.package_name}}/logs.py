"""Logs one line per event, and one per request, each with the ids of its request."""

import asyncio
import logging
import re
import sys
import time
import uuid
from typing import TextIO

from flask import Flask, Response, g, has_app_context, request
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from .settings import Settings

access = logging.getLogger(f"{__name__}.access")

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

# nginx's word for a client that closed the connection before its answer; HTTP has none.
CLIENT_CLOSED_REQUEST = 499


def configure(settings: Settings) -> None:
    """Send every log record of the process to stderr, in the configured format.

    It belongs to the process, so whoever starts one calls it (`asgi.py`, `serve.py`) and not
    `create_app`. It replaces what it did before, and what uvicorn's own command has set up.
    """
    handler = _Stderr()
    handler.set_name(__name__)
    handler.setFormatter(_json_formatter() if settings.log_format == "json" else _text_formatter())
    handler.addFilter(_RequestIds())
    root = logging.getLogger()
    for former in [each for each in root.handlers if each.get_name() == __name__]:
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(settings.log_level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        # uvicorn skips the work for its access log when nothing would handle it.
        logging.getLogger(name).propagate = name != "uvicorn.access"
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs the URL of every call


def init_app(app: Flask) -> None:
    """Give every request an id, and log a line when it ends."""
    app.before_request(_start)
    app.after_request(_note_status)
    app.teardown_request(_log_access)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what is `sys.stderr` at that time: tests and debuggers put others in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


class _RequestIds(logging.Filter):
    """Adds the ids of the request that a record was logged in.

    They come from Flask's context and not from a variable of our own: it is there in a sync
    view's thread, in `asyncio.to_thread` and in child tasks, which all run in copies of the
    context, and Flask takes it away at the end, also where threads are used again (WSGI).
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if has_app_context():
            for name in ("request_id", "trace_id"):
                if value := g.get(name):
                    setattr(record, name, value)
        return True


def _json_formatter() -> logging.Formatter:
    return JsonFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
        reserved_attrs=[*RESERVED_ATTRS, "color_message"],  # uvicorn's, a copy with colours
    )


def _text_formatter() -> logging.Formatter:
    return logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")


def _start() -> None:
    g.started = time.perf_counter()
    headers = request.headers
    given = headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    if traceparent := _TRACEPARENT.fullmatch(headers.get("traceparent", "")):
        g.traceparent, g.trace_id = traceparent[0], traceparent[1]
        if tracestate := _TRACESTATE.fullmatch(headers.get("tracestate", "")):
            g.tracestate = tracestate[0]


def request_id() -> str:
    """Return the id of the current request."""
    if "request_id" not in g:  # an answer of the bridge's own, for which no hook ran before
        _start()
    return str(g.request_id)


def _note_status(response: Response) -> Response:
    request_id()
    g.status = response.status_code
    response.headers["X-Request-ID"] = g.request_id
    return response


def _log_access(error: BaseException | None) -> None:
    # In teardown, as the only hook that also runs when the request is cancelled. A body that is
    # streamed is still to be sent then, so `duration_ms` is the time to its start.
    if "started" not in g:  # a context that somebody pushed by hand, as a shell does
        return
    cancelled = isinstance(error, asyncio.CancelledError)
    status = g.get("status", CLIENT_CLOSED_REQUEST if cancelled else 500)
    rule = request.url_rule
    route = rule.rule if rule else None
    duration_ms = round((time.perf_counter() - g.started) * 1000, 1)
    method = request.method
    access.info(
        "%s %s %s in %s ms",
        method,
        route or "-",
        status,
        duration_ms,
        extra={"method": method, "route": route, "status": status, "duration_ms": duration_ms},
    )
