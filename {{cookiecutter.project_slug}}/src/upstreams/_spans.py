"""Spans of OpenTelemetry for the attempts at calls. It needs the extra `otel`.

The names of attributes are those of the "Semantic conventions for HTTP spans", version 1.23 and
later.
"""

from contextvars import Token
from types import TracebackType

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.propagate import inject

from ._observer import OTHER, Attempt, Trace


def attempt_spans(provider: trace.TracerProvider) -> Trace:
    """Return an `Upstream.trace` that makes a client span for each attempt.

    Its parent is the current span of the caller. Retries and hedges have the parent of their call;
    a call that several callers share has that of the first. The propagators in `OTEL_PROPAGATORS`
    send the span's ids to the upstream. The span of a stream ends with the header of its reply.
    """
    tracer = provider.get_tracer("upstreams")
    return lambda attempt: _Block(tracer, attempt)


class _Block:
    """The block in which an attempt is made, within its span."""

    __slots__ = ("_attempt", "_span", "_token", "_tracer")

    _span: trace.Span
    _token: Token[otel.Context]

    def __init__(self, tracer: trace.Tracer, attempt: Attempt) -> None:
        self._tracer = tracer
        self._attempt = attempt

    def __enter__(self) -> None:
        attempt = self._attempt
        name = "HTTP" if attempt.method == OTHER else attempt.method
        attributes = {"http.request.method": attempt.method, "peer.service": attempt.upstream}
        span = self._tracer.start_span(name, None, trace.SpanKind.CLIENT, attributes)
        if span.is_recording():
            url = attempt.request.url
            span.set_attribute("url.full", attempt.url)
            span.set_attribute("server.address", url.host)
            span.set_attribute("server.port", url.port or (443 if url.scheme == "https" else 80))
            if attempt.number > 1:
                span.set_attribute("http.request.resend_count", attempt.number - 1)
        self._span = span
        self._token = otel.attach(trace.set_span_in_context(span))
        inject(attempt.headers)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        otel.detach(self._token)
        span, attempt = self._span, self._attempt
        if span.is_recording():
            if attempt.status is not None:
                span.set_attribute("http.response.status_code", attempt.status)
            if attempt.error is not None:
                span.set_attribute("error.type", attempt.error)
                span.set_status(trace.StatusCode.ERROR)
        span.end()
