"""Traces begin if the standard variables ask for them, and otherwise cost nothing."""

import asyncio
import logging
import sys

import pytest
from flask import Flask
from flask_asgi import Background, Lifespan, init_traces
from opentelemetry import trace

from .asgi_client import ask, http_scope


@pytest.fixture
def _asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")


def test_without_a_destination_there_is_no_trace(app: Flask) -> None:
    background, lifespan = Background(), Lifespan()

    assert init_traces(app, lifespan, background) is None
    assert background.trace is None
    assert "flask_asgi.trace" not in app.extensions


@pytest.mark.usefixtures("_asked_for")
def test_with_a_destination_requests_and_tasks_have_spans(app: Flask) -> None:
    background, lifespan = Background(), Lifespan()
    recorded: dict[str, bool] = {}

    def note(name: str) -> str:
        recorded[name] = trace.get_current_span().is_recording()
        return name

    async def work() -> None:
        note("task")

    app.add_url_rule("/<name>", "view", note)
    provider = init_traces(app, lifespan, background, excluded="^/hidden$")

    async def main() -> None:
        async with lifespan(app), background.running(1):
            background.start(work())
            for name in ("seen", "hidden"):
                await ask(app, http_scope(f"/{name}"))

    asyncio.run(main())

    assert provider is not None
    assert recorded == {"task": True, "seen": True, "hidden": False}


@pytest.mark.usefixtures("_asked_for")
def test_a_missing_package_is_one_warning(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(sys.modules, "flask_asgi._span_export", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    assert init_traces(app, Lifespan(), Background()) is None
    assert caplog.messages == [
        "no traces: install the extra otel, which brings 'opentelemetry.sdk.trace'"
    ]


@pytest.mark.usefixtures("_asked_for")
def test_an_unknown_exporter_is_one_warning(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "unheard-of")
    background = Background()

    with caplog.at_level(logging.WARNING):
        assert init_traces(app, Lifespan(), background) is None
    [message] = caplog.messages
    assert message.startswith("no traces: ")
    assert "unheard-of" in message
    assert background.trace is None
