"""Traces by OpenTelemetry, configured by its standard variables: docs/observing.md."""

import logging

from flask import Flask
from flask_asgi import wants_traces

from .logs import PROBES
from .parts import parts

logger = logging.getLogger(__name__)

# Probes would be most of an idle service's traces. OTEL_PYTHON_EXCLUDED_URLS overrides this.
EXCLUDED = ",".join(f"^{path}$" for path in PROBES)


def init_app(app: Flask) -> None:
    """Trace requests, the attempts at upstream calls, and background tasks, if that is configured.

    Otherwise OpenTelemetry is not imported. If tracing cannot start, a warning is logged.
    """
    if not wants_traces():
        return
    try:
        from flask_asgi import SpanExport, background_spans, trace_requests  # noqa: PLC0415 - extra
        from upstreams import attempt_spans  # noqa: PLC0415 - the same

        export = SpanExport()
        trace_requests(app, export.provider, excluded=EXCLUDED)
    except ModuleNotFoundError as error:
        logger.warning("no traces: install the extra otel, which brings '%s'", error.name)
        return
    except ValueError as error:
        logger.warning("no traces: %s", error)
        return
    service = parts(app)
    service.lifespan.add(export)
    service.background.trace = background_spans(export.provider)
    for upstream in service.clients.upstreams:
        upstream.trace = attempt_spans(export.provider)
