"""The values of the engine's metrics; clients cannot create many series."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask_asgi import METHODS, EndedRequest, Load, ServerMetrics, ServerObserver, _server_metrics
from flask_asgi._server_metrics import SLOW_TICKS, STATUSES, _requests
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

REQUESTS = "http_server_request_duration_seconds"
ENDED = EndedRequest("GET", "/ok", None, 200, None, 70.0, dict)
LOAD = Load(1, 2, 3, 4, 5, 6, 7, 8)


@pytest.fixture
def metrics() -> ServerMetrics:
    return ServerMetrics()


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


def requests(method: str, route: str, status: str, **more: str) -> float:
    labels = {"http_request_method": method, "http_route": route}
    suffix = "_bucket" if more else "_count"
    return value(REQUESTS + suffix, http_response_status_code=status, **labels, **more)


def series() -> Iterator[dict[str, str]]:
    for metric in REGISTRY.collect():
        if metric.name == REQUESTS:
            yield from (each.labels for each in metric.samples if each.name.endswith("_count"))


def test_a_request_is_counted_in_seconds_by_method_route_and_status(metrics: ServerMetrics) -> None:
    labels = ("GET", "/ok", "200")
    before = [requests(*labels), requests(*labels, le="0.05"), requests(*labels, le="0.075")]

    metrics.request_ended(ENDED)

    after = [requests(*labels), requests(*labels, le="0.05"), requests(*labels, le="0.075")]
    assert [1, 0, 1] == [each - former for each, former in zip(after, before, strict=True)]


@given(
    st.text(),
    st.none() | st.just("/ok"),
    st.integers() | st.sampled_from([99, 100, 599, 600]),
)
def test_clients_cannot_add_values_of_labels(method: str, route: str | None, status: int) -> None:
    before = [*series()]  # other tests have other routes
    ServerMetrics().request_ended(replace(ENDED, method=method, route=route, status=status))

    known = {*map(str, STATUSES), "_OTHER"}
    assert _requests.cache_info().currsize <= len(list(series()))
    for labels in (each for each in series() if each not in before):
        assert labels["http_request_method"] in METHODS
        assert labels["http_route"] in {"/ok", "_OTHER"}
        assert labels["http_response_status_code"] in known


@pytest.mark.parametrize(
    ("event", "arguments", "name", "labels", "amount"),
    [
        ("request_queued", (0.3,), "http_server_queue_duration_seconds_sum", {}, 0.3),
        ("request_shed", ("queue",), "http_server_requests_shed_total", {"reason": "queue"}, 1),
        (
            "request_cancelled",
            ("stop",),
            "http_server_requests_cancelled_total",
            {"reason": "stop"},
            1,
        ),
        ("task_began", (), "background_tasks_active", {}, 1),
        ("task_ended", ("ok",), "background_tasks_active", {}, -1),
        ("task_ended", ("error",), "background_tasks_total", {"outcome": "error"}, 1),
        ("loop_lagged", (0.3,), "event_loop_lag_seconds_sum", {}, 0.3),
    ],
)
def test_an_event_changes_its_metric(  # noqa: PLR0913, PLR0917 - a row each
    metrics: ServerMetrics,
    event: str,
    arguments: tuple[object, ...],
    name: str,
    labels: dict[str, str],
    amount: float,
) -> None:
    before = value(name, **labels)

    getattr(metrics, event)(*arguments)

    assert value(name, **labels) - before == pytest.approx(amount)


def test_the_gauges_show_the_load(metrics: ServerMetrics) -> None:
    metrics.load_sampled(LOAD)

    found = {
        "in_flight": value("http_server_active_requests"),
        "most_in_flight": value("http_server_active_requests_limit"),
        "queued": value("http_server_queued_requests"),
        "threads_busy": value("worker_threads", state="busy"),
        "threads_away": value("worker_threads", state="away"),
        "threads_idle": value("worker_threads", state="idle"),
        "most_threads": value("worker_threads_limit"),
        "calls_waiting": value("worker_threads_queued_calls"),
    }
    assert {name: getattr(LOAD, name) for name in Load.__slots__} == found


def test_every_event_is_counted() -> None:
    events = {name for name in vars(ServerObserver) if not name.startswith("_")}

    assert events <= vars(ServerMetrics).keys()


def test_dropped_log_lines_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped = [3, 5, 4, 6]  # lower once a writer is closed
    monkeypatch.setattr(_server_metrics, "dropped_lines", lambda: dropped.pop(0))
    metrics = ServerMetrics()
    before = value("log_lines_dropped_total")

    for _ in range(2 * SLOW_TICKS + 1):
        metrics.load_sampled(LOAD)

    assert value("log_lines_dropped_total") - before == 4
