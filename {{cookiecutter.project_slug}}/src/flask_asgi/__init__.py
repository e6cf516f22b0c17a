"""Serves any Flask application over ASGI.

An ``async def`` view runs on the server's event loop, everything else in a worker thread. The names
in `__all__` are the public API; modules that begin with an underscore can change at any time.

`MetricsServer` and `ServerMetrics` need prometheus-client, the extra `prometheus`. `SpanExport`,
`background_spans` and `trace_requests` need OpenTelemetry, the extra `otel`; `FastProvider` needs
orjson, the extra of that name; `ServerSettings` needs pydantic, the extra `settings`. They are
imported at their first use, and are not part of `from flask_asgi import *`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

# The exit code of a process that failed to start and would fail again: uvicorn's supervisor and
# gunicorn, which has the same number, then stop instead of starting it again.
from uvicorn.config import STARTUP_FAILURE

from ._access import (
    CLIENT_CLOSED_REQUEST,
    EndedRequest,
    add_logged_ids,
    ids_to_pass_on,
    logged_ids,
    request_id,
    watch_requests,
)
from ._background import Background
from ._bridge import FlaskToAsgi
from ._deadline_header import SHORTEST_BUDGET, init_deadlines
from ._garbage import tuned_garbage_collector
from ._headers import init_headers
from ._json_formatter import JsonFormatter
from ._lifespan import Lifespan, Resource
from ._log_setup import log_to_stderr
from ._log_sources import log_everything
from ._marks import async_to_sync, in_thread, on_loop
from ._networks import Networks
from ._observer import METHODS, Load, ServerObserver, method_name
from ._problems import ABOUT_BLANK, handle_errors, http_problem, init_problems, problem
from ._protocol import HttpProtocol
from ._readiness import Readiness, State, drain_on_signal
from ._redirects import without_host
from ._report import HiddenViewError
from ._run import run
from ._scope import request_scope
from ._server import Server, Supervisor
from ._start_traces import init_traces
from ._stderr_writer import StderrWriter, dropped_lines, flush_lines
from ._strict_json import StrictProvider, StrictRequest
from ._testing import RunningServer, serve_in_thread
from ._text_formatter import TextFormatter
from ._trace import wants_traces
from ._worker import serving

if TYPE_CHECKING:
    from ._fast_json import FastProvider as FastProvider
    from ._prometheus import MetricsServer as MetricsServer
    from ._server_metrics import ServerMetrics as ServerMetrics
    from ._server_settings import ServerSettings as ServerSettings
    from ._span_export import SpanExport as SpanExport
    from ._tracing import background_spans as background_spans
    from ._tracing import trace_requests as trace_requests

__all__ = [
    "ABOUT_BLANK",
    "CLIENT_CLOSED_REQUEST",
    "METHODS",
    "SHORTEST_BUDGET",
    "STARTUP_FAILURE",
    "Background",
    "EndedRequest",
    "FlaskToAsgi",
    "HiddenViewError",
    "HttpProtocol",
    "JsonFormatter",
    "Lifespan",
    "Load",
    "Networks",
    "Readiness",
    "Resource",
    "RunningServer",
    "Server",
    "ServerObserver",
    "State",
    "StderrWriter",
    "StrictProvider",
    "StrictRequest",
    "Supervisor",
    "TextFormatter",
    "add_logged_ids",
    "async_to_sync",
    "drain_on_signal",
    "dropped_lines",
    "flush_lines",
    "handle_errors",
    "http_problem",
    "ids_to_pass_on",
    "in_thread",
    "init_deadlines",
    "init_headers",
    "init_problems",
    "init_traces",
    "log_everything",
    "log_to_stderr",
    "logged_ids",
    "method_name",
    "on_loop",
    "problem",
    "request_id",
    "request_scope",
    "run",
    "serve_in_thread",
    "serving",
    "tuned_garbage_collector",
    "wants_traces",
    "watch_requests",
    "without_host",
]
__version__ = "0.1.0"


_OPTIONAL = {
    "FastProvider": "._fast_json",
    "MetricsServer": "._prometheus",
    "ServerMetrics": "._server_metrics",
    "ServerSettings": "._server_settings",
    "SpanExport": "._span_export",
    "background_spans": "._tracing",
    "trace_requests": "._tracing",
}


def __getattr__(name: str) -> object:
    """Import a name that has an optional dependency, at its first use."""
    if name in _OPTIONAL:
        return getattr(import_module(_OPTIONAL[name], __name__), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
