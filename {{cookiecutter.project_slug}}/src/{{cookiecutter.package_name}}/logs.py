"""Logs one line per event, and one per request, each with the ids of its request."""

import asyncio
import logging
import re
import sys
import time
import uuid
from typing import Any, TextIO
from urllib.parse import quote

from flask import Flask, Response, g, has_app_context, request
from flask_asgi import CLIENT_CLOSED_REQUEST
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

_IDS = {"X-Request-ID": "request_id", "traceparent": "traceparent", "tracestate": "tracestate"}

SERVER_ERROR = 500

LONGEST_PATH = 256  # characters, percent-encoded, of the path of a request without a route
LONGEST_METHOD = 32  # characters; the longest registered one, UPDATEREDIRECTREF, has 17

# Control characters, line separators, marks that turn the direction of writing, and surrogates,
# which no terminal and no file can take: what could make a text look like another line.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


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


class _TextFormatter(logging.Formatter):
    """Writes a record as one line, and each line of its traceback indented below it.

    So a line that does not begin with a space begins a record, whatever was logged: a client's
    text, such as one in the message of an exception, cannot make up a line.
    """

    def format(self, record: logging.LogRecord) -> str:
        # `logging.Formatter.format` would share the text of a traceback with other formatters.
        record.message = record.getMessage()
        record.asctime = self.formatTime(record)
        line = self.formatMessage(record)
        if request_id := getattr(record, "request_id", None):
            line += f" request_id={request_id}"
        parts = [_escaped(line)]
        if record.exc_info:
            parts.append(_indented(self.formatException(record.exc_info)))
        if record.stack_info:
            parts.append(_indented(self.formatStack(record.stack_info)))
        return "\n".join(parts)


def _text_formatter() -> logging.Formatter:
    return _TextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")


def _escaped(text: str) -> str:
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _indented(text: str) -> str:
    return "\n".join(f"  {_escaped(line)}" for line in text.split("\n"))


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


def ids_to_pass_on() -> list[tuple[str, str]]:
    """Return the headers that let an upstream log the ids of the current request."""
    if not has_app_context():
        return []
    ids = {name: g.get(attribute) for name, attribute in _IDS.items()}
    return [(name, value) for name, value in ids.items() if value]


def _note_status(response: Response) -> Response:
    request_id()
    g.status = response.status_code
    response.headers["X-Request-ID"] = g.request_id
    if response.is_streamed and not response.direct_passthrough:
        # Its body is sent after the teardown, and `close` is called when that has ended.
        response.call_on_close(_AccessLine(g.pop("started"), g.status).write)
    return response


def _log_access(error: BaseException | None) -> None:
    # In teardown, as the only hook that also runs when the request is cancelled. It runs again
    # after a stream with context, and for a context that somebody pushed by hand, as a shell does.
    if (started := g.pop("started", None)) is None:
        return
    cancelled = isinstance(error, asyncio.CancelledError)
    status = g.get("status", CLIENT_CLOSED_REQUEST if cancelled else SERVER_ERROR)
    if access.isEnabledFor(_level(status)):
        _AccessLine(started, status).write()


def _level(status: int) -> int:
    return logging.ERROR if status >= SERVER_ERROR else logging.INFO


class _AccessLine:
    """The line of one request, which can be written after the request's context has ended."""

    def __init__(self, started: float, status: int) -> None:
        """Take what is to be said from the request that is answered now."""
        self.started = started
        rule = request.url_rule
        self.fields: dict[str, Any] = {
            "method": request.method[:LONGEST_METHOD],
            "route": rule.rule if rule else None,
            "status": status,
            "client": request.remote_addr,
        }
        if rule is None:  # a route is better: paths hold ids and tokens
            self.fields["path"] = quote(request.root_path + request.path)[:LONGEST_PATH]
        for name in ("request_id", "trace_id"):
            if value := g.get(name):
                self.fields[name] = value

    def write(self) -> None:
        """Write it; `duration_ms` ends now."""
        fields = self.fields
        fields["duration_ms"] = round((time.perf_counter() - self.started) * 1000, 1)
        access.log(
            _level(fields["status"]),
            "%s %s %s in %s ms",
            fields["method"],
            fields["route"] or fields.get("path"),
            fields["status"],
            fields["duration_ms"],
            extra=fields,
        )
