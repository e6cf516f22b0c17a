"""Spans that are kept in memory, and trees of them that a test can compare."""

from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

# The name of a span, and the trees below it, sorted by name.
Tree = tuple[str, list[Any]]


class Spans:
    """A provider of tracers, and the spans that have ended."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(
            sampler=sampler, resource=Resource.get_empty(), shutdown_on_exit=False
        )
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def ended(self) -> Sequence[ReadableSpan]:
        """The spans that have ended, in that order."""
        return self._exporter.get_finished_spans()

    def trees(self, name: Callable[[ReadableSpan], str] = lambda span: span.name) -> list[Tree]:
        """The trees of spans, each span with the name that `name` returns for it."""
        return _below(self.ended, None, name)

    def only(self) -> ReadableSpan:
        """The only span that has ended."""
        [span] = self.ended
        return span


def _below(
    spans: Sequence[ReadableSpan], parent: int | None, name: Callable[[ReadableSpan], str]
) -> list[Tree]:
    found = []
    for span in spans:
        is_remote = span.parent is not None and span.parent.is_remote
        above = None if span.parent is None or is_remote else span.parent.span_id
        if above == parent:
            assert span.context is not None
            found.append((name(span), _below(spans, span.context.span_id, name)))
    return sorted(found)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Its attributes, without those of every request."""
    usual = {"url.scheme", "network.protocol.version", "client.address", "server.address"}
    usual |= {"server.port"}
    return {name: value for name, value in (span.attributes or {}).items() if name not in usual}


def everything_in(span: ReadableSpan) -> str:
    """All text of a span, in which a test looks for secrets."""
    return str(span.to_json())
