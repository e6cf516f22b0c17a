"""A service in FastAPI with the duties of the generated one, as fast as its documentation allows.

Ids, access lines and metrics are one pure ASGI middleware. The lines are made by the template's
formatter and written by its writer, the histogram has the same buckets and labels, and the garbage
collector is set in the same way. So only the frameworks differ.
"""

import logging
import os
import re
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from fastapi import FastAPI
from flask_asgi import JsonFormatter, StderrWriter, tuned_garbage_collector
from prometheus_client import Histogram, start_http_server

from .views import opened, router

access = logging.getLogger("access")
request_id: ContextVar[str] = ContextVar("request_id", default="")

GIVEN_ID = re.compile(r"[\x21-\x7e]{1,128}")
PROBES = {"/livez", "/readyz"}
DURATION = Histogram(
    "http_server_request_duration_seconds",
    "Time from the start of a request to the end of its response.",
    ("http_request_method", "http_route", "http_response_status_code"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
)


@cache
def _duration(method: str, route: str, status: int) -> Histogram:
    return DURATION.labels(method, route, status)


def _add_id(record: logging.LogRecord) -> bool:
    record.request_id = request_id.get()
    return True


def configure_logs() -> None:
    """Sends every line to stderr as JSON, as the generated service does."""
    handler = StderrWriter()
    handler.setFormatter(JsonFormatter())
    handler.addFilter(_add_id)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class Duties:
    """ASGI middleware: an id and headers for each request, a line and a measurement at its end."""

    def __init__(self, app: Any) -> None:  # noqa: ANN401 - an ASGI application
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's
        """Serves a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        text = given.decode("latin-1")
        id_ = text if GIVEN_ID.fullmatch(text) else uuid.uuid4().hex
        request_id.set(id_)
        status = sent = 0

        async def send_with_headers(message: Any) -> None:  # noqa: ANN401 - an ASGI event
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] += [
                    (b"x-request-id", id_.encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            found = scope.get("route")
            route = found.path if found else None
            _duration(scope["method"], route or "_OTHER", status).observe(seconds)
            _log(scope, route, status, round(seconds * 1000, 1), sent)


def _log(scope: Any, route: str | None, status: int, duration_ms: float, sent: int) -> None:  # noqa: ANN401 - a scope
    if route in PROBES and status == 200:  # noqa: PLR2004 - OK
        return  # the generated service logs it at the level DEBUG
    fields = {
        "method": scope["method"],
        "route": route,
        "status": status,
        "client": scope["client"][0],
        "duration_ms": duration_ms,
        "bytes": sent,
    }
    args = (scope["method"], route or scope["path"], status, duration_ms)
    message = "%s %s %s in %s ms"
    record = access.makeRecord(
        access.name, logging.INFO, __file__, 0, message, args, None, extra=fields
    )
    access.handle(record)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Starts like the generated service."""
    start_http_server(int(os.environ["METRICS_PORT"]), "127.0.0.1")
    async with opened():
        with tuned_garbage_collector():
            yield


configure_logs()
app = FastAPI(lifespan=lifespan)
app.include_router(router)
app.add_middleware(Duties)
