"""The metrics of the service and their port; docs/observing.md lists all metrics."""

import re
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from flask_asgi import MetricsServer
from prometheus_client import REGISTRY, Metric
from prometheus_client.parser import text_string_to_metric_families

from {{ cookiecutter.package_name }}.app import create_app
from {{ cookiecutter.package_name }}.observing import observe
from {{ cookiecutter.package_name }}.parts import parts
from {{ cookiecutter.package_name }}.settings import Settings

from .conftest import LiveClient
from .serving import PATIENCE, ROOT, wait_until

ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Return settings with a port for the metrics."""
    return settings.model_copy(update={"metrics_port": 1})


@pytest.fixture(scope="module")
def metrics() -> Iterator[MetricsServer]:
    """Serve the metrics of this process."""
    with MetricsServer("127.0.0.1", 0) as server:
        yield server


def scrape(server: MetricsServer) -> list[Metric]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return list(text_string_to_metric_families(text))


def requests(server: MetricsServer, route: str) -> float:
    return sum(
        sample.value
        for metric in scrape(server)
        for sample in metric.samples
        if sample.name == "http_server_request_duration_seconds_count"
        and sample.labels["http_route"] == route
    )


def test_requests_are_counted_by_route(live_client: LiveClient, metrics: MetricsServer) -> None:
    before = requests(metrics, "/livez"), requests(metrics, "_OTHER")

    live_client.get("/livez")
    live_client.get("/made-up/by/a/client")

    wait_until(lambda: requests(metrics, "/livez") == before[0] + 1)
    wait_until(lambda: requests(metrics, "_OTHER") == before[1] + 1)


def test_the_public_port_does_not_serve_metrics(live_client: LiveClient) -> None:
    assert live_client.get("/metrics").status_code == 404


def test_without_a_metrics_port_nothing_is_counted(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"metrics_port": 0}))

    assert observe(parts(app)) is None


def test_the_documentation_lists_every_metric(
    live_client: LiveClient, metrics: MetricsServer
) -> None:
    text = (ROOT / "docs" / "observing.md").read_text(encoding="utf-8")
    rows = ROW.findall(text.partition("\n## Metrics\n")[2].partition("\n## ")[0])
    listed = {name: (kind, {*re.findall(r"\w+", labels)}) for name, kind, labels in rows}
    live_client.get("/livez")

    found = {
        metric.name + "_total" * (metric.type == "counter"): metric
        for metric in REGISTRY.collect()
        if metric.name.partition("_")[0] not in {"process", "python"}
    }
    assert found.keys() == listed.keys()
    for name, metric in found.items():
        kind, labels = listed[name]
        used = {label for sample in metric.samples for label in sample.labels} - {"le"}
        assert (metric.type, used | labels) == (kind, labels)
    assert scrape(metrics)
