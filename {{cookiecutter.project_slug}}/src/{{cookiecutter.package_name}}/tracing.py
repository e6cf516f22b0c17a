"""Traces by OpenTelemetry, whose standard variables say all about them: docs/observing.md."""

import logging

from flask import Flask
from flask_asgi import wants_traces

from .parts import parts

logger = logging.getLogger(__name__)

# Probes would be most of the traces of an idle service. OTEL_PYTHON_EXCLUDED_URLS goes before this.
EXCLUDED = "^/livez$,^/readyz$"


def init_app(app: Flask) -> None:
    """Trace requests, the attempts at calls of upstreams, and background work, if that is wanted.

    Nothing of OpenTelemetry is imported otherwise. What keeps it from working is a warning.
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
