"""The metrics and traces of the service and of its libraries. docs/observing.md lists them.

A metric of your own is defined here like `BUILD`, and counted in a view: `ORDERS.inc()`. A gauge
needs a `multiprocess_mode` for several workers; "livesum" adds up the running workers. Labels need
few values: never an id, a path, or another text that a client chooses.
"""

import platform
from importlib import metadata

from flask import Flask
from flask_asgi import ServerMetrics, ServerObserver, init_traces
from prometheus_client import Gauge
from upstreams import UpstreamMetrics

from .logs import PROBES
from .parts import Parts, parts

NAME = "{{ cookiecutter.project_slug }}"

BUILD = Gauge(
    "service_build_info",
    "Always 1; the version of the service that runs, and its Python.",
    ("service", "version", "python_version"),
    multiprocess_mode="livemax",
)

# Probes would be most of an idle service's traces. OTEL_PYTHON_EXCLUDED_URLS overrides this.
NOT_TRACED = ",".join(f"^{path}$" for path in PROBES)


def init_app(app: Flask) -> None:
    """Trace requests, background tasks and attempts at upstream calls, if that is configured."""
    service = parts(app)
    provider = init_traces(app, service.lifespan, service.background, excluded=NOT_TRACED)
    if provider is not None:
        from upstreams import attempt_spans  # noqa: PLC0415 - an extra

        for upstream in service.clients.upstreams:
            upstream.trace = attempt_spans(provider)


def observe(service: Parts) -> ServerObserver | None:
    """Count the service's events from now on. Return the observer for its `FlaskToAsgi`.

    Without METRICS_PORT nothing is counted, which costs nothing.
    """
    if not service.settings.metrics_port:
        return None
    BUILD.labels(NAME, _version(), platform.python_version()).set(1)
    calls = UpstreamMetrics()
    for upstream in service.clients.upstreams:
        calls.observe(upstream)
    observer = service.background.observer = ServerMetrics()
    return observer


def _version() -> str:
    try:
        return metadata.version(NAME)
    except metadata.PackageNotFoundError:  # the sources are on the path, but not installed
        return "unknown"
