"""Spans of OpenTelemetry for requests and for background work. It needs the extra `otel`.

The names of attributes are those of the "Semantic conventions for HTTP spans", version 1.23 and
later. Values from a client are cut to a length, and the query, which may hold secrets, is left out.
"""

import logging
import os
import re
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from http import HTTPStatus
from traceback import format_tb
from types import TracebackType
from typing import Any

from flask import Flask, got_request_exception
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.propagate import extract, get_global_textmap
from opentelemetry.propagators.textmap import Getter

from ._environ import RULE, sent_path
from ._exchange import Exchange
from ._marks import on_loop
from ._observer import OTHER, method_name
from ._sampling import Spans, unsampled
from ._trace import TRACE

# The variables for the paths that are not traced: regular expressions, separated by commas. They
# are those of OpenTelemetry's own instrumentation of Flask; the first that is set counts.
EXCLUDED = ("OTEL_PYTHON_FLASK_EXCLUDED_URLS", "OTEL_PYTHON_EXCLUDED_URLS")

# The loggers that warn of each unreadable header of a client, and repeat its text.
_READERS = ("opentelemetry.baggage.propagation", "opentelemetry.trace.span")

# Characters of a value that a client chooses.
LONGEST = 256
LONGEST_METHOD = 32

_NO_BLOCK = nullcontext()  # of every request whose span is not recorded
_NO_PARENT = otel.Context()

Headers = Iterable[tuple[bytes, bytes]]


def trace_requests(app: Flask, provider: trace.TracerProvider, *, excluded: str = "") -> None:
    """Let `provider` make a span for each request that a `FlaskToAsgi` of `app` serves.

    The span begins before the request waits for admission, and ends with the last byte of its
    response. It is the current span in all code of the request, on the loop and in threads, and in
    the tasks that it starts. Its parent is the span in the request's headers, which are read by the
    propagators in `OTEL_PROPAGATORS`.

    Args:
        app: the Flask application.
        provider: makes the spans.
        excluded: the paths without spans, as regular expressions separated by commas. One of the
            variables `EXCLUDED` overrides it. Calls that these requests make have no spans either.

    Raises:
        ValueError: a variable holds no regular expression.
    """
    tracer = provider.get_tracer("flask_asgi")
    app.extensions[TRACE] = _Requests(tracer, _pattern(excluded))
    got_request_exception.connect(_note_failure, app)
    for name in _READERS:
        logging.getLogger(name).setLevel(logging.ERROR)


def background_spans(
    provider: trace.TracerProvider,
) -> Callable[[str], AbstractContextManager[object]]:
    """Return a `Background.trace` that makes a span for each piece of work.

    The span's parent is the current span of the code that starts the work, often a request's. So
    the trace of a request shows the work, which may end later.
    """
    tracer = provider.get_tracer("flask_asgi")

    @contextmanager
    def span_of(name: str) -> Iterator[None]:
        started = tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False
        )
        with started as span:
            try:
                yield
            except BaseException as error:
                note_error(span, error)
                raise

    return span_of


def note_error(span: trace.Span, error: BaseException) -> None:
    """Mark `span` as failed, and keep the type of `error` and where it was raised.

    Its message is left out: it may hold data that belongs in a log but not in a tracing service.
    The log has it, with the ids of the span.
    """
    if span.is_recording():
        kind = type(error)
        name = kind.__qualname__
        if kind.__module__ != "builtins" and not isinstance(error, CancelledError):
            name = f"{kind.__module__}.{name}"
        span.set_attribute("error.type", name)
        span.set_status(trace.StatusCode.ERROR)
        if not isinstance(error, CancelledError):
            where = "".join(format_tb(error.__traceback__))
            span.add_event("exception", {"exception.type": name, "exception.stacktrace": where})


class _Requests:
    """Makes the spans of requests: a `Trace`."""

    def __init__(self, tracer: trace.Tracer, excluded: re.Pattern[str] | None) -> None:
        self._spans = Spans(tracer)
        self._excluded = excluded
        self._read = {field.lower().encode() for field in get_global_textmap().fields}

    def __call__(self, exchange: Exchange) -> AbstractContextManager[object]:
        scope: Any = exchange.scope
        parent, headers = _NO_PARENT, scope["headers"]
        for name, _ in headers:
            if name in self._read:
                parent = extract(headers, parent, _HEADERS)
                break
        span = self._start_span(scope, parent)
        # Attached in the request's own context, which ends with the request: no detach is needed.
        exchange.context.run(otel.attach, trace.set_span_in_context(span, parent))
        if not span.is_recording():
            return _NO_BLOCK
        span.set_attributes(_further_attributes(scope))
        return _Block(span, exchange)

    def current_ids(self) -> Callable[[], dict[str, str]]:
        return partial(_written, trace.get_current_span())

    def _start_span(self, scope: Any, parent: otel.Context) -> trace.Span:  # noqa: ANN401 - see `_further_attributes`
        path = sent_path(scope)
        if self._excluded is not None and self._excluded.search(path):
            return unsampled(parent)
        method = method_name(scope["method"])
        attributes = {
            "http.request.method": method,
            "url.path": path[:LONGEST],
            "url.scheme": scope.get("scheme", "http"),
        }
        return self._spans.start(_span_name(method), parent, attributes)


def _written(span: trace.Span) -> dict[str, str]:
    context = span.get_span_context()
    if not context.is_valid:
        return {}
    # As `trace.format_trace_id` and `format_span_id` do, with less work.
    trace_id, span_id = context.trace_id.to_bytes(16), context.span_id.to_bytes(8)
    return {"trace_id": trace_id.hex(), "span_id": span_id.hex()}


class _Block:
    """The block in which a request is served, within a span that is recorded."""

    __slots__ = ("_exchange", "_span")

    def __init__(self, span: trace.Span, exchange: Exchange) -> None:
        self._span = span
        self._exchange = exchange

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        span, exchange = self._span, self._exchange
        if not span.is_recording():  # the application has ended it
            return
        rule = (exchange.environ or {}).get(RULE)
        if rule is not None:
            span.set_attribute("http.route", rule.rule)
            span.update_name(f"{_span_name(method_name(exchange.scope['method']))} {rule.rule}")
        if exchange.has_begun() and exchange.response is not None:
            status = exchange.response.start["status"]
            span.set_attribute("http.response.status_code", status)
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                span.set_status(trace.StatusCode.ERROR)
                if "error.type" not in (getattr(span, "attributes", None) or {}):
                    span.set_attribute("error.type", str(status))
        if error is not None:
            note_error(span, error)
        elif not exchange.is_complete:
            note_error(span, CancelledError())
        span.end()


class _HeaderGetter(Getter[Headers]):
    """Reads the headers of an ASGI scope, whose names are in lower case."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        wanted = key.lower().encode()
        return [value.decode("latin-1") for name, value in carrier if name == wanted] or None

    def keys(self, carrier: Headers) -> list[str]:
        return [name.decode("latin-1") for name, _ in carrier]


_HEADERS = _HeaderGetter()


def _span_name(method: str) -> str:
    return "HTTP" if method == OTHER else method


def _further_attributes(scope: Any) -> dict[str, Any]:  # noqa: ANN401 - a scope, also of a server that leaves out parts
    attributes: dict[str, Any] = {"network.protocol.version": scope["http_version"]}
    if method_name(scope["method"]) == OTHER:
        attributes["http.request.method_original"] = scope["method"][:LONGEST_METHOD]
    if client := scope.get("client"):
        attributes["client.address"] = client[0]
    if (server := scope.get("server")) and server[1]:
        attributes["server.address"], attributes["server.port"] = server
    if agent := _HEADERS.get(scope["headers"], "user-agent"):
        attributes["user_agent.original"] = agent[0][:LONGEST]
    return attributes


def _pattern(excluded: str) -> re.Pattern[str] | None:
    variable = next((name for name in EXCLUDED if name in os.environ), None)
    if variable is not None:
        excluded = os.environ[variable]
    patterns = [each.strip() for each in excluded.split(",") if each.strip()]
    try:
        return re.compile("|".join(patterns)) if patterns else None
    except re.error as error:
        message = f"{variable}: {error}; accepted: regular expressions separated by commas"
        raise ValueError(message) from None


@on_loop
def _note_failure(_app: Flask, exception: Exception, **_: object) -> None:
    note_error(trace.get_current_span(), exception)
