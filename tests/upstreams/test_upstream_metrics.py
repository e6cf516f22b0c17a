"""The values of the metrics of upstreams."""

import pytest
from prometheus_client import REGISTRY
from upstreams import ERRORS, METHODS, Observer, Upstream, UpstreamMetrics

CALL = ("orders", "GET")
OF_CALL = {"upstream": "orders", "http_request_method": "GET"}


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


@pytest.fixture
def metrics() -> UpstreamMetrics:
    metrics = UpstreamMetrics()
    metrics.observe(Upstream("orders", "http://127.0.0.1:1", timeout=1, max_connections=7))
    return metrics


@pytest.mark.parametrize(
    ("event", "arguments", "name", "labels", "amount"),
    [
        ("call_ended", (*CALL, None, 0.3), "call_duration_seconds_sum", {"error_type": ""}, 0.3),
        ("retried", (), "retries_total", {}, 1),
        ("retry_refused", ("budget",), "retries_refused_total", {"reason": "budget"}, 1),
        ("hedged", (), "hedges_total", {}, 1),
        ("hedge_refused", (), "hedges_refused_total", {}, 1),
        ("hedge_won", (), "hedges_won_total", {}, 1),
        ("coalesced", (), "coalesced_calls_total", {}, 1),
        ("cache_hit", (), "cache_lookups_total", {"result": "hit"}, 1),
        ("cache_missed", (), "cache_lookups_total", {"result": "miss"}, 1),
        ("body_failed", ("GET", "_OTHER"), "stream_failures_total", {"error_type": "_OTHER"}, 1),
        ("breaker_refused", (), "breaker_refusals_total", {}, 1),
        ("breaker_changed", ("open",), "breaker_state", {"state": "open"}, 1),
        ("breaker_changed", ("open",), "breaker_state", {"state": "closed"}, -1),
        ("connection_taken", (), "connections_active", {}, 1),
        ("connection_released", (0.3,), "connections_active", {}, -1),
        ("wait_began", (), "connections_queued_calls", {}, 1),
        ("wait_ended", (0.3,), "connections_queued_calls", {}, -1),
        ("wait_ended", (0.3,), "connection_wait_duration_seconds_sum", {}, 0.3),
    ],
)
def test_an_event_changes_its_metric(  # noqa: PLR0913, PLR0917 - a row each
    metrics: UpstreamMetrics,
    event: str,
    arguments: tuple[object, ...],
    name: str,
    labels: dict[str, str],
    amount: float,
) -> None:
    if event == "call_ended":
        labels, arguments = {**OF_CALL, **labels}, arguments[1:]
    labels = {"upstream": "orders", **labels}
    before = value(f"upstream_{name}", **labels) or 0

    getattr(metrics, event)("orders", *arguments)

    assert (value(f"upstream_{name}", **labels) or 0) - before == pytest.approx(amount)


@pytest.mark.parametrize("error", [None, *ERRORS])
@pytest.mark.parametrize("method", METHODS)
def test_attempts_are_counted_by_method_and_error(
    metrics: UpstreamMetrics, method: str, error: str | None
) -> None:
    name = "http_client_request_duration_seconds_count"
    labels = {"upstream": "orders", "http_request_method": method, "error_type": error or ""}
    before = value(name, **labels) or 0

    metrics.attempt_ended("orders", method, error, 0.1)

    assert value(name, **labels) == before + 1


@pytest.mark.usefixtures("metrics")
def test_an_upstream_has_its_series_from_the_start() -> None:
    states = {
        state: value("upstream_breaker_state", upstream="orders", state=state)
        for state in ("closed", "open", "half-open")
    }

    assert states == {"closed": 1, "open": 0, "half-open": 0}
    assert value("upstream_connections_limit", upstream="orders") == 7
    assert value("upstream_connections_active", upstream="orders") is not None
    assert value("upstream_retries_total", upstream="orders") is not None


def test_every_event_is_counted() -> None:
    events = {name for name in vars(Observer) if not name.startswith("_")}

    assert events <= vars(UpstreamMetrics).keys()
