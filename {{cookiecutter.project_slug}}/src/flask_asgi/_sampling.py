"""Starts the spans of requests. A request that is not sampled does not call OpenTelemetry's SDK.

The SDK makes ids, asks its sampler, and makes a dozen other checks, which cost far more than the
ids and the sampler alone. Most requests are not sampled. So this asks the sampler first, once, with
the arguments that the SDK would pass. Only if the sampler wants the span recorded does the SDK make
it, with the trace's id and the sampler's answer.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from random import getrandbits
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Tracer
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

logger = logging.getLogger(__name__)

# If this variable is true, the SDK counts spans, including those that are not recorded.
_COUNTS = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"

# A flag of W3C Trace Context level 2. An API before 1.43 does not have it.
_RANDOM = getattr(trace.TraceFlags, "RANDOM_TRACE_ID", 0)

_NOT_SAMPLED = (trace.TraceFlags(trace.TraceFlags.DEFAULT), trace.TraceFlags(_RANDOM))

_SERVER = trace.SpanKind.SERVER
_IS_REMOTE = False
_NO_LINKS: Sequence[trace.Link] = ()


class Spans:
    """Starts spans of requests with `tracer`, which no other code may use from now on.

    Any tracer works. The tracer of OpenTelemetry's SDK is called only for spans that are recorded.
    """

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer
        self._has_failed = False
        self._decided: _Decided | None = None
        # An SDK before 1.36 cannot switch a tracer off.
        self._is_enabled: Callable[[], bool] = getattr(tracer, "_is_enabled", lambda: True)
        if type(tracer) is Tracer and _COUNTS not in os.environ:
            self._decided = _Decided(tracer.sampler, tracer.id_generator)
            tracer.sampler = tracer.id_generator = self._decided

    def start(self, name: str, parent: Context, attributes: dict[str, Any]) -> trace.Span:
        """Return the span of a request that begins, as a child of the span in `parent`, if any.

        If the sampler raises, the request does not fail; its span is not recorded. The first error
        of each worker is logged.
        """
        try:
            return self._start(name, parent, attributes)
        except Exception:
            if not self._has_failed:
                self._has_failed = True
                logger.exception("a request is not traced; further ones are not reported")
            return unsampled(parent)

    def _start(self, name: str, parent: Context, attributes: dict[str, Any]) -> trace.Span:
        decided = self._decided
        if decided is None or not self._is_enabled():
            return self._tracer.start_span(name, parent, _SERVER, attributes)
        ids, is_random = decided.ids, False
        above = trace.get_current_span(parent).get_span_context() if parent else None
        if above is None or not above.is_valid:
            trace_id, is_random = ids.generate_trace_id(), decided.is_trace_id_random()
        else:
            trace_id, is_random = above.trace_id, bool(above.trace_flags & _RANDOM)
        result = decided.sampler.should_sample(
            parent, trace_id, name, _SERVER, attributes, _NO_LINKS
        )
        if result.decision is not Decision.DROP:
            decided.next.trace_id, decided.next.result = trace_id, result
            return self._tracer.start_span(name, parent, _SERVER, attributes)
        span_id, flags, state = ids.generate_span_id(), _NOT_SAMPLED[is_random], result.trace_state
        context = trace.SpanContext(trace_id, span_id, _IS_REMOTE, flags, state)
        return trace.NonRecordingSpan(context)


def unsampled(parent: Context) -> trace.Span:
    """Return a span that is not recorded; a usual sampler then records no child of it either."""
    above = trace.get_current_span(parent).get_span_context()
    ids = (above.trace_id, above.span_id) if above.is_valid else (_id(128), _id(64))
    return trace.NonRecordingSpan(trace.SpanContext(*ids, is_remote=False))


def _id(bits: int) -> int:
    return getrandbits(bits) or 1  # zero is an invalid id: W3C Trace Context section 3.2.2


class _Next(threading.local):
    """The sampler's answer for the span that this thread starts next, and that span's trace id."""

    trace_id: int
    result: SamplingResult


class _Decided(Sampler, IdGenerator):
    """Gives a tracer the trace and the answer that are known already.

    Args:
        sampler: has given the answer.
        ids: has made the id.
    """

    def __init__(self, sampler: Sampler, ids: IdGenerator) -> None:
        self.sampler = sampler
        self.ids = ids
        self.next = _Next()

    def should_sample(self, *_: object, **__: object) -> SamplingResult:
        return self.next.result

    def get_description(self) -> str:
        return self.sampler.get_description()

    def generate_trace_id(self) -> int:
        return self.next.trace_id

    def generate_span_id(self) -> int:
        return self.ids.generate_span_id()

    def is_trace_id_random(self) -> bool:
        # A generator of an SDK before 1.43 does not say it.
        is_random: bool = getattr(self.ids, "is_trace_id_random", bool)()
        return is_random
