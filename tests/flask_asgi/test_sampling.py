"""The sampler is asked once, before the SDK makes a span: same arguments, same effect."""

import logging
from typing import Any

import pytest
from flask import Flask
from flask_asgi import trace_requests
from flask_asgi._sampling import Spans
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState

from tests import spans

from .asgi_client import ask, both_kinds, http_scope, on_both_paths

ATTRIBUTES = {"http.request.method": "GET", "url.path": "/async", "url.scheme": "http"}
TRACE, ABOVE = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331


class Ids(RandomIdGenerator):
    """Ids that are the same each time; a ratio of 0.5 samples some and does not sample others."""

    def __init__(self) -> None:
        self._made = 0

    def generate_trace_id(self) -> int:
        self._made += 1
        return (self._made << 100) + self._made % 2 * (2**64 - 1) + 1 - self._made % 2

    def generate_span_id(self) -> int:
        self._made += 1
        return self._made


class Asked(Sampler):
    """A sampler that records its arguments, and returns the given answers in order."""

    def __init__(self, *answers: SamplingResult) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self._answers = list(answers)

    def should_sample(self, *asked: Any, **named: Any) -> SamplingResult:
        self.asked.append((*asked, named))
        return self._answers.pop(0)

    def get_description(self) -> str:
        return "Asked"


def provider(sampler: Sampler) -> TracerProvider:
    return TracerProvider(sampler=sampler, id_generator=Ids(), shutdown_on_exit=False)


def below(flags: int | None) -> Context:
    """Return the context of a caller that sends these flags, or none."""
    if flags is None:
        return Context()
    above = SpanContext(TRACE, ABOVE, True, TraceFlags(flags), TraceState([("v", "1")]))  # noqa: FBT003
    return trace.set_span_in_context(trace.NonRecordingSpan(above), Context())


def seen(span: trace.Span) -> tuple[Any, ...]:
    context = span.get_span_context()
    return (
        *(span.is_recording(), context, context.trace_state, type(context.trace_flags)),
        dict(getattr(span, "attributes", None) or {}),
        *(getattr(span, each, None) for each in ("name", "kind", "parent")),
    )


ANSWERS = [
    SamplingResult(decision, attributes, state)
    for decision in Decision
    for attributes in (None, {"sampler.says": 1})
    for state in (None, TraceState([("s", "2")]))
]


@pytest.mark.parametrize("flags", [None, 0, 1, 2, 3])
@pytest.mark.parametrize(
    "sampler",
    [
        *(lambda: ALWAYS_OFF, lambda: ALWAYS_ON, lambda: TraceIdRatioBased(0.5)),
        *(lambda: ParentBased(ALWAYS_OFF), lambda: ParentBased(ALWAYS_ON)),
        lambda: ParentBased(TraceIdRatioBased(0.5)),
        *(lambda answer=answer: Asked(*[answer] * 4) for answer in ANSWERS),
    ],
)
def test_a_span_equals_the_span_of_the_sdk(sampler: Any, flags: int | None) -> None:
    parent = below(flags)
    sdks, asked = provider(sampler()).get_tracer("a"), provider(sampler()).get_tracer("a")

    found = Spans(asked)

    for _ in range(4):
        by_sdk = sdks.start_span("GET", parent, SpanKind.SERVER, ATTRIBUTES)
        assert seen(found.start("GET", parent, dict(ATTRIBUTES))) == seen(by_sdk)


@pytest.mark.parametrize("flags", [None, 1])
@pytest.mark.parametrize("decision", list(Decision))
def test_a_sampler_is_asked_once_with_the_arguments_of_the_sdk(
    decision: Decision, flags: int | None
) -> None:
    parent = below(flags)
    of_sdk, ours = Asked(SamplingResult(decision)), Asked(SamplingResult(decision))
    provider(of_sdk).get_tracer("a").start_span("GET", parent, SpanKind.SERVER, ATTRIBUTES)

    Spans(provider(ours).get_tracer("a")).start("GET", parent, dict(ATTRIBUTES))

    assert of_sdk.asked == ours.asked


def test_a_tracer_of_another_library_is_used_unchanged() -> None:
    own = trace.NonRecordingSpan(trace.INVALID_SPAN_CONTEXT)

    class Another(trace.NoOpTracer):
        def start_span(self, *_: Any, **__: Any) -> trace.Span:
            return own

    assert Spans(Another()).start("GET", below(1), dict(ATTRIBUTES)) is own


def test_a_tracer_that_is_switched_off_makes_no_span() -> None:
    tracer = provider(ALWAYS_ON).get_tracer("a")
    if not hasattr(tracer, "_is_enabled"):
        pytest.skip("this SDK cannot switch a tracer off")
    vars(tracer)["_is_enabled"] = lambda: False
    found = Spans(tracer)

    assert not found.start("GET", below(None), dict(ATTRIBUTES)).is_recording()
    assert found.start("GET", below(1), dict(ATTRIBUTES)).get_span_context().span_id == ABOVE


def test_the_internal_metrics_of_the_sdk_still_count_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    tracer = provider(ALWAYS_OFF).get_tracer("a")
    started = []
    monkeypatch.setattr(type(tracer), "start_span", lambda *_: started.append(1))

    Spans(tracer).start("GET", below(None), dict(ATTRIBUTES))

    assert started == [1]


@pytest.mark.anyio
@on_both_paths
async def test_a_failing_sampler_fails_no_request_and_logs_one_line(
    app: Flask, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = spans.Spans(sampler=Asked())  # it has no answer
    trace_requests(app, found.provider)
    both_kinds(app, lambda: trace.format_trace_id(_current().trace_id))

    with caplog.at_level(logging.WARNING):
        answers = [await ask(app, http_scope(path)) for _ in range(3)]

    assert [status for status, *_ in answers] == [200] * 3
    assert [record.name for record in caplog.records] == ["flask_asgi._sampling"]
    assert not found.ended


def _current() -> SpanContext:
    return trace.get_current_span().get_span_context()
