"""The metrics of real services: known counts, a blocked loop, and workers that die."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from flask_asgi import STARTUP_FAILURE
from prometheus_client.parser import text_string_to_metric_families

from price_service.serve import main

from ..serving import PACKAGE, PATIENCE, Server, free_port, serve, wait_until

REQUESTS = "http_server_request_duration_seconds_count"
STOPPING = "tests.service.stopping_service"


class Scraper:
    """Reads the metrics of a service."""

    def __init__(self, port: int) -> None:
        self.port = port

    def text(self) -> str:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as client:
            client.request("GET", "/metrics")
            response = client.getresponse()
            assert response.status == 200
            return response.read().decode()

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of all series with these labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.text())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@contextmanager
def observed(target: str = PACKAGE, **env: str) -> Iterator[tuple[Server, Scraper]]:
    """Serve with metrics, on a free port."""
    port = free_port()
    with serve(target, env={"METRICS_PORT": str(port), **env}) as server:
        yield server, Scraper(port)


def ask(server: Server, method: str, path: str) -> int:
    with closing(server.connect()) as client:
        client.request(method, path)
        return client.getresponse().status


def test_every_request_under_load_is_counted_once() -> None:
    asked = [
        *[("GET", f"/prices?symbol=S{number}", 200) for number in range(30)],
        *[("GET", f"/nowhere/{number}", 404) for number in range(20)],
        *[("POST", "/livez", 405)] * 10,
        *[("PROPFIND", "/livez", 405)] * 5,
        *[("GET", "/metrics", 404)] * 3,
    ]
    with observed(PRICES__MAX_CONNECTIONS="2") as (server, scraper):
        with ThreadPoolExecutor(16) as pool:
            statuses = list(pool.map(lambda each: ask(server, *each[:2]), asked))
        wait_until(lambda: scraper.total("http_server_active_requests") == 0)
        wait_until(lambda: scraper.total(REQUESTS) >= len(asked))

        assert [each[2] for each in asked] == statuses
        assert scraper.total(REQUESTS) == len(asked)
        assert scraper.total(REQUESTS, http_route="/prices") == 30
        assert scraper.total(REQUESTS, http_route="_OTHER") == 38
        assert scraper.total(REQUESTS, http_request_method="_OTHER") == 5
        assert scraper.total(REQUESTS, http_response_status_code="405") == 15
        assert scraper.total("upstream_call_duration_seconds_count", error_type="") == 30
        assert scraper.total("http_client_request_duration_seconds_count", upstream="prices") == 30
        assert scraper.total("upstream_connection_wait_duration_seconds_count") > 0
        assert scraper.total("upstream_connections_active") == 0
        assert scraper.total("upstream_connections_limit") == 2
        assert "/nowhere" not in scraper.text()


def test_the_metrics_are_served_while_the_event_loop_is_blocked(tmp_path: Path) -> None:
    release = tmp_path / "release"
    env = {"RELEASE": str(release)}
    with observed(STOPPING, **env) as (server, scraper), ThreadPoolExecutor() as pool:
        blocked = pool.submit(server.get, "/block")
        wait_until(release.with_name("inside").exists)
        last_tick = scraper.total("event_loop_last_tick_timestamp_seconds")
        waiting = pool.submit(server.get, "/livez")
        for _ in range(5):
            assert scraper.total("event_loop_last_tick_timestamp_seconds") == last_tick
        assert not blocked.done()
        assert not waiting.done()
        release.touch()

        assert waiting.result()[0] == blocked.result()[0] == 200
        wait_until(lambda: scraper.total("event_loop_last_tick_timestamp_seconds") > last_tick)


def test_workers_add_up_and_a_killed_worker_keeps_its_counts(tmp_path: Path) -> None:
    route = {"http_route": "/worker"}
    env = {"WEB_CONCURRENCY": "2", "TMPDIR": str(tmp_path)}
    with observed(STOPPING, **env) as (server, scraper):
        wait_until(lambda: scraper.total("worker_threads_limit") == 200)
        workers: set[int] = set()
        sent = 0
        while len(workers) < 2:
            workers.add(int(server.get("/worker")[1]))
            sent += 1
        wait_until(lambda: scraper.total(REQUESTS, **route) == sent)

        os.kill(min(workers), signal.SIGKILL)
        wait_until(lambda: scraper.total("worker_threads_limit") == 100)
        assert scraper.total(REQUESTS, **route) == sent
        assert scraper.total("upstream_breaker_state", state="closed") == 1
        wait_until(lambda: scraper.total("worker_threads_limit") == 200)
        while len(workers) < 3:
            workers.add(int(server.get("/worker")[1]))
            sent += 1

        wait_until(lambda: scraper.total(REQUESTS, **route) == sent)
        assert scraper.total("upstream_breaker_state", state="closed") == 2
        server.process.terminate()
        assert server.process.wait(PATIENCE) == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("clean_environment", "unchanged_logging")
class TestStart:
    """The command ends before it serves, so it runs in this process."""

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_a_taken_port_stops_the_start_with_one_sentence(
        self, workers: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            monkeypatch.setenv("METRICS_PORT", port)
            with pytest.raises(SystemExit) as ended:
                main(["--port", "0", "--workers", workers])

        assert ended.value.code == STARTUP_FAILURE
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith(f"METRICS_PORT: cannot serve on 127.0.0.1, port {port}: ")
        assert "in use" in line

    def test_the_public_port_is_refused_for_metrics(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("METRICS_PORT", "8000")
        with pytest.raises(SystemExit) as ended:
            main([])

        assert ended.value.code == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("METRICS_PORT must not be that of PORT")


def test_the_metrics_are_served_with_reload() -> None:
    port = free_port()
    with serve(PACKAGE, "--reload", env={"METRICS_PORT": str(port)}) as server:
        server.get("/livez")

        wait_until(lambda: Scraper(port).total(REQUESTS, http_route="/livez") >= 1)


def test_without_a_metrics_port_no_metrics_are_served() -> None:
    with serve(env={"METRICS_PORT": ""}) as server:
        assert json.loads(server.get("/livez")[1]) == {"status": "alive"}
        assert "Metrics on" not in server.log
