"""Logs one line per event, and one per request, each with the ids of its request."""

import logging
import sys
from http import HTTPStatus
from typing import TextIO

from flask import Flask
from flask_asgi import EndedRequest, TextFormatter, logged_ids, watch_requests
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from .settings import Settings

access = logging.getLogger(f"{__name__}.access")


def configure(settings: Settings) -> None:
    """Send every log record of the process to stderr, in the configured format.

    It belongs to the process, so whoever starts one calls it (`asgi.py`, `serve.py`) and not
    `create_app`. It replaces what it did before, and what uvicorn's own command has set up.
    """
    handler = _Stderr()
    handler.set_name(__name__)
    handler.setFormatter(_json_formatter() if settings.log_format == "json" else _text_formatter())
    handler.addFilter(_add_ids)
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
    watch_requests(app, _log_access)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what is `sys.stderr` at that time: tests and debuggers put others in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _add_ids(record: logging.LogRecord) -> bool:
    vars(record).update(logged_ids())
    return True


def _json_formatter() -> logging.Formatter:
    return JsonFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
        reserved_attrs=[*RESERVED_ATTRS, "color_message"],  # uvicorn's, a copy with colours
    )


def _text_formatter() -> logging.Formatter:
    return TextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")


def _log_access(ended: EndedRequest) -> None:
    failed = ended.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    level = logging.ERROR if failed else logging.INFO
    if not access.isEnabledFor(level):
        return
    fields = {
        "method": ended.method,
        "route": ended.route,
        "status": ended.status,
        "client": ended.client,
        "duration_ms": ended.duration_ms,
        **ended.ids,
    }
    if ended.path is not None:
        fields["path"] = ended.path
    shown = ended.route or ended.path
    message = "%s %s %s in %s ms"
    access.log(level, message, ended.method, shown, ended.status, ended.duration_ms, extra=fields)
