"""The parts of tracing that work without OpenTelemetry: the switch, and the `Trace` protocol."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

# Where `_tracing` puts a `Trace`, among the extensions of an application.
TRACE = "flask_asgi.trace"

# Each sets a destination of traces.
_DESTINATIONS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_TRACES_EXPORTER",
)


def wants_traces() -> bool:
    """Tell whether the standard variables of OpenTelemetry set a destination of traces.

    Its specification has a default, a collector on this machine. Without a collector there, a
    program would lose every span. So here no destination means no traces.
    """
    is_disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    is_none = os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    return not (is_disabled or is_none) and any(map(os.environ.get, _DESTINATIONS))


class Trace(Protocol):
    """Traces the requests of an application."""

    def __call__(self, exchange: Any) -> AbstractContextManager[object]:  # noqa: ANN401 - an `Exchange`, which imports this module
        """Return the block in which the exchange runs, with its wait for admission."""

    def current_ids(self) -> Callable[[], dict[str, str]]:
        """Return a function that writes `trace_id` and `span_id` of the current span for the log.

        They are in hexadecimal. The function also works when the span is no longer current.
        """
