"""The metrics of upstreams for prometheus-client.

The names follow OpenTelemetry's conventions for HTTP where there are any, written as Prometheus
does: https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
"""

from functools import cache
from typing import get_args

from prometheus_client import Counter, Gauge, Histogram

from ._breaker import State
from ._observer import Observer
from ._retries import Refusal
from ._upstream import Upstream

# In seconds; the first are those of OpenTelemetry's conventions.
CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
WAIT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

_UPSTREAM = ("upstream",)
_CALL = ("upstream", "http_request_method", "error_type")


def _gauge(name: str, meaning: str, labels: tuple[str, ...] = _UPSTREAM) -> Gauge:
    return Gauge(name, meaning, labels, multiprocess_mode="livesum")


CALLS = Histogram(
    "upstream_call_duration_seconds",
    "Time of a call, with its waits and retries; error_type is empty for success.",
    _CALL,
    buckets=CALL_BUCKETS,
)
ATTEMPTS = Histogram(
    "http_client_request_duration_seconds",
    "Time of one request to an upstream: a first attempt, a retry or a hedge.",
    _CALL,
    buckets=CALL_BUCKETS,
)
BROKEN_STREAMS = Counter(
    "upstream_stream_failures_total",
    "Replies whose body broke off after the call had succeeded.",
    ("upstream", "error_type"),
)
RETRIES = Counter("upstream_retries_total", "Retries.", _UPSTREAM)
NO_RETRIES = Counter(
    "upstream_retries_refused_total", "Retries that were refused.", ("upstream", "reason")
)
HEDGES = Counter(
    "upstream_hedges_total", "Hedges: second attempts while the first is slow.", _UPSTREAM
)
NO_HEDGES = Counter(
    "upstream_hedges_refused_total", "Hedges that the retry budget refused.", _UPSTREAM
)
WON_HEDGES = Counter(
    "upstream_hedges_won_total", "Hedges that answered before the first attempt.", _UPSTREAM
)
COALESCED = Counter(
    "upstream_coalesced_calls_total", "Calls that joined an identical one.", _UPSTREAM
)
CACHE = Counter("upstream_cache_lookups_total", "Look-ups in the cache.", ("upstream", "result"))
BREAKER = _gauge(
    "upstream_breaker_state",
    "Workers whose circuit breaker is in this state.",
    ("upstream", "state"),
)
BREAKER_REFUSALS = Counter(
    "upstream_breaker_refusals_total",
    "Calls and further attempts that the circuit breaker refused.",
    _UPSTREAM,
)
CONNECTIONS = _gauge("upstream_connections_active", "Connections in use.")
MOST_CONNECTIONS = _gauge("upstream_connections_limit", "The limit of connections.")
CONNECTION_QUEUE = _gauge("upstream_connections_queued_calls", "Calls that wait for a connection.")
CONNECTION_WAIT = Histogram(
    "upstream_connection_wait_duration_seconds",
    "Time that a call waited for a connection; calls that did not wait are not counted.",
    _UPSTREAM,
    buckets=WAIT_BUCKETS,
)

# Counters whose series exist from the start, because a rate needs a first value.
_FROM_THE_START = (
    RETRIES,
    HEDGES,
    NO_HEDGES,
    WON_HEDGES,
    COALESCED,
    BREAKER_REFUSALS,
    CONNECTIONS,
    CONNECTION_QUEUE,
)


class UpstreamMetrics(Observer):
    """Counts the events of upstreams. All objects of a process share its metrics."""

    def observe(self, upstream: Upstream) -> None:
        """Count the events of `upstream` from now on; it must not be open yet."""
        upstream.observer = self
        for metric in _FROM_THE_START:
            metric.labels(upstream.name)
        for reason in get_args(Refusal):
            NO_RETRIES.labels(upstream.name, reason)
        MOST_CONNECTIONS.labels(upstream.name).set(upstream.max_connections)
        self.breaker_changed(upstream.name, "closed")

    def call_ended(self, upstream: str, method: str, error: str | None, seconds: float) -> None:
        """Count it by upstream, method and error."""
        _durations(CALLS, upstream, method, error or "").observe(seconds)

    def attempt_ended(self, upstream: str, method: str, error: str | None, seconds: float) -> None:
        """Count it by upstream, method and error."""
        _durations(ATTEMPTS, upstream, method, error or "").observe(seconds)

    def body_failed(self, upstream: str, method: str, error: str) -> None:  # noqa: ARG002 - few series
        """Count it by error."""
        BROKEN_STREAMS.labels(upstream, error).inc()

    def retried(self, upstream: str) -> None:
        """Count it."""
        RETRIES.labels(upstream).inc()

    def retry_refused(self, upstream: str, by: Refusal) -> None:
        """Count it by reason."""
        NO_RETRIES.labels(upstream, by).inc()

    def hedged(self, upstream: str) -> None:
        """Count it."""
        HEDGES.labels(upstream).inc()

    def hedge_refused(self, upstream: str) -> None:
        """Count it."""
        NO_HEDGES.labels(upstream).inc()

    def hedge_won(self, upstream: str) -> None:
        """Count it."""
        WON_HEDGES.labels(upstream).inc()

    def coalesced(self, upstream: str) -> None:
        """Count it."""
        COALESCED.labels(upstream).inc()

    def cache_hit(self, upstream: str) -> None:
        """Count it."""
        CACHE.labels(upstream, "hit").inc()

    def cache_missed(self, upstream: str) -> None:
        """Count it."""
        CACHE.labels(upstream, "miss").inc()

    def breaker_changed(self, upstream: str, state: State) -> None:
        """Set the state to 1 and the others to 0."""
        for each in get_args(State):
            BREAKER.labels(upstream, each).set(each == state)

    def breaker_refused(self, upstream: str) -> None:
        """Count it."""
        BREAKER_REFUSALS.labels(upstream).inc()

    def connection_taken(self, upstream: str) -> None:
        """Count it as in use."""
        _gauges(CONNECTIONS, upstream).inc()

    def connection_released(self, upstream: str, seconds: float) -> None:  # noqa: ARG002 - few series
        """Count it as no longer in use."""
        _gauges(CONNECTIONS, upstream).dec()

    def wait_began(self, upstream: str) -> None:
        """Count the call as waiting."""
        CONNECTION_QUEUE.labels(upstream).inc()

    def wait_ended(self, upstream: str, seconds: float) -> None:
        """Count the wait."""
        CONNECTION_QUEUE.labels(upstream).dec()
        CONNECTION_WAIT.labels(upstream).observe(seconds)


@cache  # as many as there are series
def _durations(metric: Histogram, upstream: str, method: str, error: str) -> Histogram:
    return metric.labels(upstream, method, error)


@cache
def _gauges(metric: Gauge, upstream: str) -> Gauge:
    return metric.labels(upstream)
