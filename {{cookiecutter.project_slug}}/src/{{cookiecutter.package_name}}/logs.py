"""Logs one line per event, and one per request, each with the ids of its request."""

import logging
from http import HTTPStatus

from flask import Flask
from flask_asgi import (
    CLIENT_CLOSED_REQUEST,
    EndedRequest,
    JsonFormatter,
    TextFormatter,
    log_to_stderr,
    watch_requests,
)

from .settings import Settings

access = logging.getLogger(f"{__name__}.access")

# Health checks are most of the requests of an idle service. Successful ones are logged at the level
# DEBUG.
PROBES = {"/livez", "/readyz"}

TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def configure(settings: Settings) -> None:
    """Send every log record of the process to stderr, in the configured format.

    It affects the process, so the modules that start a process call it (`asgi.py`, `serve.py`), not
    `create_app`.
    """
    is_json = settings.log_format == "json"
    log_to_stderr(settings.log_level, JsonFormatter() if is_json else TextFormatter(TEXT))
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs the URL of every call


def init_app(app: Flask) -> None:
    """Give every request an id, and log a line when its response is sent."""
    watch_requests(app, _log_access)


def _log_access(ended: EndedRequest) -> None:
    level = _level(ended)
    if not access.isEnabledFor(level):
        return
    fields = {
        "method": ended.method,
        "route": ended.route,
        "status": ended.status,
        "client": ended.client,
        "duration_ms": ended.duration_ms,
        "bytes": ended.bytes_sent,
        **ended.ids,
    }
    if ended.path is not None:
        fields["path"] = ended.path
    message = "%s %s %s in %s ms"
    if not ended.is_complete and ended.status != CLIENT_CLOSED_REQUEST:
        fields["cut_off"] = True
        message = "%s %s %s cut off after %s ms"
    args = ended.method, ended.route or ended.path, ended.status, ended.duration_ms
    # `access.log` would search for its caller, which takes a quarter of the time of a line.
    record = access.makeRecord(access.name, level, __file__, 0, message, args, None, extra=fields)
    access.handle(record)


def _level(ended: EndedRequest) -> int:
    if ended.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return logging.ERROR
    is_fine = HTTPStatus.OK <= ended.status < HTTPStatus.MULTIPLE_CHOICES
    return logging.DEBUG if is_fine and ended.route in PROBES else logging.INFO
