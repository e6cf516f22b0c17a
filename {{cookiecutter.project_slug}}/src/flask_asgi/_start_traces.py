"""Traces the requests and the background tasks of an application, if that is configured."""

import logging
from typing import TYPE_CHECKING

from flask import Flask

from ._background import Background
from ._lifespan import Lifespan
from ._trace import wants_traces

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

logger = logging.getLogger(__name__)


def init_traces(
    app: Flask, lifespan: Lifespan, background: Background, *, excluded: str = ""
) -> "TracerProvider | None":
    """Trace requests and background tasks, if the standard variables of OpenTelemetry ask for it.

    Otherwise OpenTelemetry is not imported. If tracing cannot start, a warning is logged.

    Args:
        app: the Flask application.
        lifespan: opens and closes the export of the spans.
        background: has its tasks traced.
        excluded: the paths without spans; see `trace_requests`.

    Returns:
        What makes further spans, such as those of calls to upstreams; None without traces.
    """
    if not wants_traces():
        return None
    try:
        from ._span_export import SpanExport  # noqa: PLC0415 - an optional dependency
        from ._tracing import background_spans, trace_requests  # noqa: PLC0415 - the same

        export = SpanExport()
        trace_requests(app, export.provider, excluded=excluded)
    except ModuleNotFoundError as error:
        logger.warning("no traces: install the extra otel, which brings '%s'", error.name)
        return None
    except ValueError as error:
        logger.warning("no traces: %s", error)
        return None
    lifespan.add(export)
    background.trace = background_spans(export.provider)
    return export.provider
