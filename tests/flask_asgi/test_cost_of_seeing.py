"""Observing a request costs few calls of Python functions; a busy machine does not change that."""

import asyncio
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from flask import Flask
from flask_asgi import FlaskToAsgi, ServerMetrics, trace_requests, watch_requests
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler, TraceIdRatioBased

from .asgi_client import http_scope

HEADERS = ((b"host", b"127.0.0.1"), (b"accept", b"*/*"), (b"user-agent", b"test"))

WARM_UP = 3  # requests that fill caches


def traced(sampler: Sampler, excluded: str = "") -> Callable[[Flask], None]:
    def prepare(app: Flask) -> None:
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        trace_requests(app, provider, excluded=excluded)

    return prepare


def calls(prepare: Callable[[Flask], None], **options: Any) -> int:
    """Return the number of function calls of a request to a no-op view."""
    app = Flask("tested")
    app.add_url_rule("/noop", "noop", noop)
    prepare(app)
    bridge = FlaskToAsgi(app, **options)
    scope = http_scope("/noop", *HEADERS)
    count = 0

    def profile(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal count
        count += event == "call"

    async def main() -> None:
        for _ in range(WARM_UP):
            await ask(bridge, scope)
        sys.setprofile(profile)
        try:
            await ask(bridge, scope)
        finally:
            sys.setprofile(None)

    asyncio.run(main())
    return count


async def noop() -> dict[str, bool]:
    return {"ok": True}


async def ask(bridge: FlaskToAsgi, scope: dict[str, Any]) -> None:
    events: Any = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Any:
        return next(events, None) or await asyncio.Event().wait()

    async def send(_event: Any) -> None:
        pass

    await bridge(dict(scope), receive, send)  # type: ignore[arg-type] # plain dicts


# The most calls that each configuration may add. A request to a no-op view has 162.
@pytest.mark.parametrize(
    ("most", "prepare"),
    [
        pytest.param(31, traced(ALWAYS_OFF), id="always_off"),
        pytest.param(32, traced(TraceIdRatioBased(0.0)), id="ratio"),
        pytest.param(36, traced(ParentBased(ALWAYS_OFF)), id="parent-based"),
        pytest.param(21, traced(ALWAYS_OFF, "^/noop$"), id="excluded"),
    ],
)
def test_a_span_that_is_not_recorded_costs_few_calls(
    most: int, prepare: Callable[[Flask], None]
) -> None:
    without = calls(lambda _: None)

    assert without < calls(prepare) <= without + most


def test_metrics_cost_few_calls_in_an_application_with_watched_requests() -> None:
    def watched(app: Flask) -> None:
        watch_requests(app, lambda _: None)

    without = calls(watched)

    assert without < calls(watched, observer=ServerMetrics()) <= without + 12
