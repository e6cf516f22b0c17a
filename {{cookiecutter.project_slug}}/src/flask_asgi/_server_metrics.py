"""The engine's metrics for prometheus-client.

The names follow OpenTelemetry's conventions for HTTP where there are any, written as Prometheus
does: https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
"""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from ._access import EndedRequest
from ._observer import (
    OTHER,
    CancelReason,
    Load,
    ServerObserver,
    ShedReason,
    TaskOutcome,
    method_name,
)
from ._prometheus import GarbageCounters
from ._stderr_writer import dropped_lines

# In seconds; the first are those of OpenTelemetry's conventions.
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
WAIT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

STATUSES = range(100, 600)  # RFC 9110 section 15

SLOW_TICKS = 10  # between two updates of values that are not urgent


def _gauge(name: str, meaning: str, labels: tuple[str, ...] = ()) -> Gauge:
    return Gauge(name, meaning, labels, multiprocess_mode="livesum")


REQUESTS = Histogram(
    "http_server_request_duration_seconds",
    "Time from the start of a request to the end of its response.",
    ("http_request_method", "http_route", "http_response_status_code"),
    buckets=REQUEST_BUCKETS,
)
IN_FLIGHT = _gauge("http_server_active_requests", "Requests that have begun and not ended.")
MOST_IN_FLIGHT = _gauge("http_server_active_requests_limit", "The limit of requests in flight.")
QUEUED = _gauge("http_server_queued_requests", "Requests that wait to begin.")
QUEUE_TIME = Histogram(
    "http_server_queue_duration_seconds",
    "Time that a request waited to begin; requests that did not wait are not counted.",
    buckets=WAIT_BUCKETS,
)
SHED = Counter("http_server_requests_shed_total", "Requests answered 503 for load.", ("reason",))
CANCELLED = Counter(
    "http_server_requests_cancelled_total", "Requests cancelled with their view.", ("reason",)
)
THREADS = _gauge("worker_threads", "Worker threads by state.", ("state",))
MOST_THREADS = _gauge("worker_threads_limit", "The limit of busy worker threads.")
THREAD_QUEUE = _gauge("worker_threads_queued_calls", "Calls that wait for a worker thread.")
LAG = Histogram("event_loop_lag_seconds", "How late a timer of the loop ran.", buckets=WAIT_BUCKETS)
LAST_TICK = Gauge(
    "event_loop_last_tick_timestamp_seconds",
    "Unix time at which the event loop last ran; with several workers, the oldest of their times.",
    multiprocess_mode="livemin",
)
TASKS = _gauge("background_tasks_active", "Background tasks that run.")
ENDED_TASKS = Counter("background_tasks_total", "Background tasks that ended.", ("outcome",))
DROPPED_LINES = Counter(
    "log_lines_dropped_total", "Log lines that were dropped because stderr was not read."
)
GARBAGE = GarbageCounters()

# Series that exist from the start, as a rate needs a first value.
for _reason in ("max_in_flight", "queue", "threads"):
    SHED.labels(_reason)
for _reason in ("disconnect", "timeout", "stop"):
    CANCELLED.labels(_reason)
for _outcome in ("ok", "error", "cancelled"):
    ENDED_TASKS.labels(_outcome)


class ServerMetrics(ServerObserver):
    """Counts what the engine does. The metrics are those of the process, for all its objects.

    However many paths and methods clients invent, the labels stay few. The label is `_OTHER` for
    the route of a request without a route, for a method that no standard defines, and for a status
    that is not from 100 to 599.
    """

    def __init__(self) -> None:
        LAST_TICK.set_to_current_time()
        self._ticks = 0
        self._dropped = dropped_lines()

    def request_ended(self, request: EndedRequest) -> None:
        """Count it by method, route and status."""
        method, route = method_name(request.method), request.route or OTHER
        status = request.status if request.status in STATUSES else OTHER
        _requests(method, route, status).observe(request.duration_ms / 1000)

    def request_queued(self, seconds: float) -> None:
        """Count its time in line."""
        QUEUE_TIME.observe(seconds)

    def request_shed(self, reason: ShedReason) -> None:
        """Count it by reason."""
        SHED.labels(reason).inc()

    def request_cancelled(self, reason: CancelReason) -> None:
        """Count it by reason."""
        CANCELLED.labels(reason).inc()

    def task_began(self) -> None:
        """Count it as under way."""
        TASKS.inc()

    def task_ended(self, outcome: TaskOutcome) -> None:
        """Count it by outcome."""
        TASKS.dec()
        ENDED_TASKS.labels(outcome).inc()

    def loop_lagged(self, seconds: float) -> None:
        """Count the lag."""
        LAG.observe(seconds)

    def load_sampled(self, load: Load) -> None:
        """Set the gauges."""
        LAST_TICK.set_to_current_time()
        IN_FLIGHT.set(load.in_flight)
        MOST_IN_FLIGHT.set(load.most_in_flight)
        QUEUED.set(load.queued)
        THREADS.labels("busy").set(load.threads_busy)
        THREADS.labels("away").set(load.threads_away)
        THREADS.labels("idle").set(load.threads_idle)
        MOST_THREADS.set(load.most_threads)
        THREAD_QUEUE.set(load.calls_waiting)
        if self._ticks % SLOW_TICKS == 0:
            GARBAGE.refresh()
            dropped = dropped_lines()
            DROPPED_LINES.inc(max(0, dropped - self._dropped))  # less, once a writer is gone
            self._dropped = dropped
        self._ticks += 1


@cache  # as many as there are series
def _requests(method: str, route: str, status: int | str) -> Histogram:
    return REQUESTS.labels(method, route, status)
