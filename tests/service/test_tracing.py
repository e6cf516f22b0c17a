"""The traces of the service, as a collector receives them from its workers."""

from collections.abc import Iterator
from typing import Any

import pytest

from ..otlp_receiver import Collector, collecting
from ..serving import free_port, serve

Spans = list[dict[str, Any]]


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that outlives the services that report to it."""
    with collecting() as collector:
        yield collector


def spans_of(collector: Collector, *paths: str, **env: str) -> Spans:
    """Return the spans that a service with two workers sends for these requests."""
    usual = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "WEB_CONCURRENCY": "2"}
    with serve(env=usual | env) as service:
        for path in paths:
            service.get(path)
        service.process.terminate()
        assert service.process.wait(30) == 0
    return collector.spans


def test_the_spans_of_attempts_are_below_their_request_in_every_worker(
    collector: Collector,
) -> None:
    paths = ["/prices?symbol=A&symbol=B&symbol=C"] * 8
    spans = spans_of(collector, *paths, "/fingerprint/sync?text=a", "/fingerprint/async?text=a")

    requests = [span for span in spans if not span["parent"]]
    names = sorted(span["name"] for span in requests)
    assert names == ["GET /fingerprint/async", "GET /fingerprint/sync", *["GET /prices"] * 8]
    for request in requests:
        below = [span for span in spans if span["parent"] == request["id"]]
        called = sorted(span["attributes"]["url.full"][-1] for span in below)
        assert called == (["A", "B", "C"] if request["name"] == "GET /prices" else [])
        assert {span["trace"] for span in below} <= {request["trace"]}
        assert {span["attributes"]["peer.service"] for span in below} <= {"prices"}
    assert len({span["trace"] for span in requests}) == len(requests)


def test_the_standard_variables_of_the_sampler_work(collector: Collector) -> None:
    assert spans_of(collector, *["/prices?symbol=A"] * 4, OTEL_TRACES_SAMPLER="always_off") == []


def test_a_missing_collector_costs_a_log_line_and_no_request() -> None:
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://user:s3cret@127.0.0.1:{free_port()}/?key=s3cret",
        "OTEL_PYTHON_EXCLUDED_URLS": "/readyz",
        "OTEL_BSP_SCHEDULE_DELAY": "1",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "WEB_CONCURRENCY": "2",
    }
    with serve(env=env) as service:
        assert {service.get("/livez")[0] for _ in range(20)} == {200}
        service.process.terminate()
        assert service.process.wait(20) == 0
        log = service.log

    assert "Traceback" not in log
    assert "s3cret" not in log
    assert 1 <= log.count("spans cannot be delivered") <= 2  # one for each worker
