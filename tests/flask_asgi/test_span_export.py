"""The export of spans to a collector: the spans that are sent, and the report of lost spans."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from flask import Flask
from flask_asgi import SpanExport
from flask_asgi import _span_export as module
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

pytestmark = pytest.mark.anyio


class Fake(SpanExporter):
    """An exporter whose behaviour a test sets."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.act: Callable[[], SpanExportResult] = lambda: SpanExportResult.SUCCESS
        self.shut_down = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self.act()
        if result is SpanExportResult.SUCCESS:
            self.names += [span.name for span in spans]
        return result

    def shutdown(self) -> None:
        self.shut_down += 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setattr(module, "_exporter", lambda: lambda: fake)
    return fake


@pytest.fixture
def export(fake: Fake) -> SpanExport:
    assert not fake.names
    return SpanExport()


def span(export: SpanExport, name: str) -> None:
    export.provider.get_tracer("tests").start_span(name).end()


async def test_spans_are_sent_by_the_end_of_each_lifespan(
    app: Flask, export: SpanExport, fake: Fake
) -> None:
    span(export, "before")
    for name in ("first", "second"):
        async with export(app):
            span(export, name)
        span(export, "between")

    assert fake.names == ["first", "second"]


async def test_a_collector_that_never_answers_does_not_delay_a_stop(
    app: Flask,
    export: SpanExport,
    fake: Fake,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = threading.Event()

    def hang() -> SpanExportResult:
        release.wait(60)
        return SpanExportResult.SUCCESS

    fake.act = hang
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.05)

    async with export(app):
        span(export, "lost")

    assert not release.is_set()
    assert caplog.messages == ["the last spans were not delivered within 0.05 s"]
    release.set()


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Give the messages that reach a program's handlers; pytest's own handler gets more."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    yield messages
    logging.getLogger().removeHandler(handler)


def refuse() -> SpanExportResult:
    """Fail as OpenTelemetry's exporters do: with a line for each try."""
    for _ in range(3):
        logging.getLogger("opentelemetry.exporter.otlp").warning(
            "no answer from %s", "a?key=s3cret"
        )
    return SpanExportResult.FAILURE


def explode() -> SpanExportResult:
    raise ConnectionError


@pytest.mark.parametrize(
    ("failing", "reason"), [(refuse, "no answer from a"), (explode, "ConnectionError")]
)
def test_the_beginning_and_the_end_of_lost_spans_are_logged_once(
    fake: Fake,
    failing: Callable[[], SpanExportResult],
    reason: str,
    logged: list[str],
) -> None:
    SpanExport()
    reporting = module._Reporting(fake)  # noqa: SLF001 - a thread of OpenTelemetry calls it
    spans: list[Any] = [trace.INVALID_SPAN] * 2
    fake.act = failing
    for _ in range(3):
        assert reporting.export(spans) is SpanExportResult.FAILURE
    assert logged == [f"spans cannot be delivered and are lost: {reason}"]

    fake.act = lambda: SpanExportResult.FAILURE
    assert reporting.export(spans) is SpanExportResult.FAILURE
    fake.names, fake.act = [], lambda: SpanExportResult.SUCCESS
    reporting.export([ReadableSpan("delivered")])

    assert logged[1:] == ["spans are delivered again; 8 were lost"]


@pytest.fixture
def collector() -> Iterator[tuple[str, list[str]]]:
    """Give the URL of a collector, and the paths that it is asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


async def test_the_provider_becomes_the_global_provider(
    app: Flask, export: SpanExport, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[object] = []
    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    monkeypatch.setattr(trace, "set_tracer_provider", chosen.append)

    async with export(app):
        assert chosen == [export.provider]
    assert not fake.names


@pytest.fixture
def configured(
    collector: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> tuple[SpanExport, list[str]]:
    url, asked = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{url}/base")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    return SpanExport(), asked


async def test_the_exporter_of_the_extra_is_configured_by_its_variables(
    app: Flask, configured: tuple[SpanExport, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    export, asked = configured

    async with export(app):
        span(export, "sent")

    assert asked == ["/base/v1/traces"]
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("OTEL_TRACES_EXPORTER", "pigeon", "OTEL_TRACES_EXPORTER: no installed package"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL: no installed"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many", "a variable OTEL_"),
    ],
)
def test_an_unusable_variable_is_reported_in_one_sentence(
    name: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ValueError, match=rf"^{expected}") as raised:
        SpanExport()

    assert "\n" not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
