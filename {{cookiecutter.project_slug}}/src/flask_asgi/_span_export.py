"""Sends spans to the destination in OpenTelemetry's standard variables; needs the extra `otel`."""

import asyncio
import contextlib
import logging
import os
import re
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import entry_points

from flask import Flask
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

logger = logging.getLogger(__name__)

# Seconds that a stop waits for the last spans to be delivered.
FLUSH_SECONDS = 3.0

# The exporter for each value of OTEL_EXPORTER_OTLP_PROTOCOL, by its entry point's name.
_OTLP = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


class SpanExport:
    """Exports spans while its lifespan is open: one for each worker process.

    The variables are those of the "OpenTelemetry Environment Variable Specification". They are read
    when this object is made: `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_EXPORTER`,
    `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_BSP_MAX_QUEUE_SIZE` and so on.

    `provider` makes the spans. When the lifespan opens, it becomes OpenTelemetry's global provider
    if none is set. Requests never wait for an export: spans are queued for a thread, and the queue
    has a limit. Spans that cannot be delivered are lost. One log line reports the first loss, and
    one the first delivery after it.

    Raises `ValueError` with a sentence for a variable that cannot be used.
    """

    def __init__(self) -> None:
        self._make_exporter = _exporter()
        try:
            self._make_exporter().shutdown()
            self.provider = TracerProvider(shutdown_on_exit=False)
        except Exception as error:  # noqa: BLE001 - each raises what it likes
            message = f"a variable OTEL_* cannot be used: {type(error).__name__}: {error}"
            raise ValueError(message) from None
        self._queue = _Queue()
        self.provider.add_span_processor(self._queue)
        logging.getLogger("opentelemetry.exporter").addHandler(_reasons)
        logging.getLogger("opentelemetry.exporter").propagate = False

    @asynccontextmanager
    async def __call__(self, _app: Flask) -> AsyncIterator[None]:
        """Export spans within the block: the resource for a `Lifespan`."""
        batches = await asyncio.to_thread(self._make_batches)
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            trace.set_tracer_provider(self.provider)
        self._queue.batches = batches
        try:
            yield
        finally:
            self._queue.batches = None
            if not await _has_ended(batches.shutdown, FLUSH_SECONDS):
                logger.warning("the last spans were not delivered within %g s", FLUSH_SECONDS)

    def _make_batches(self) -> BatchSpanProcessor:
        return BatchSpanProcessor(_Reporting(self._make_exporter()))


class _Queue(SpanProcessor):
    """Queues spans while an exporter is open, and drops them before and after."""

    batches: BatchSpanProcessor | None = None

    def on_end(self, span: ReadableSpan) -> None:
        if (batches := self.batches) is not None:
            batches.on_end(span)


class _Reporting(SpanExporter):
    """Logs once that spans are lost, and once that they are delivered again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - as bad as a failure
            _reasons.last = type(error).__name__
            result = SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS:
            if not self._lost:
                logger.warning("spans cannot be delivered and are lost: %s", _reasons.last)
            self._lost += len(spans)
        elif self._lost:
            logger.warning("spans are delivered again; %d were lost", self._lost)
            self._lost = 0
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Reasons(logging.Handler):
    """Keeps the last log message of the exporters, which log a message for each try."""

    last = "for no known reason"

    def emit(self, record: logging.LogRecord) -> None:
        # A query may hold a token.
        self.last = re.sub(r"\?\S*", "", record.getMessage())


_reasons = _Reasons(logging.WARNING)


def _exporter() -> Callable[[], SpanExporter]:
    """Return a function that makes the configured exporter.

    Raises `ValueError` when no installed package has it.
    """
    variable, name = "OTEL_TRACES_EXPORTER", os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    wanted = name
    if name == "otlp":
        for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
            if name := os.environ.get(variable, ""):
                break
        else:
            name = "http/protobuf"
        wanted = _OTLP.get(name, name)
    found = entry_points(group="opentelemetry_traces_exporter", name=wanted)
    if not found:
        message = f"{variable}: no installed package exports {name!r}; the extra has http/protobuf"
        raise ValueError(message)
    make: Callable[[], SpanExporter] = next(iter(found)).load()
    return make


async def _has_ended(work: Callable[[], object], seconds: float) -> bool:
    """Run `work` in a thread, and return whether it has ended within `seconds`.

    The thread is a daemon, so that work that takes longer does not keep the process alive.
    """
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def run() -> None:
        try:
            work()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=run, name="last-spans", daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            await ended.wait()
    except TimeoutError:
        return False
    return True
