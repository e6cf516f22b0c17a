"""The server of metrics: a separate port, and the values of several processes."""

import asyncio
import gc
import multiprocessing
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from flask_asgi import MetricsServer
from flask_asgi import _prometheus as module
from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from tests.serving import PATIENCE, Answer, get, wait_until

SPAWN = multiprocessing.get_context("spawn")
OWN = Counter("tested_total", "Counted by this process.", registry=REGISTRY)


def scrape(server: MetricsServer) -> dict[tuple[str, ...], float]:
    answer = get(server.port, "/metrics")
    assert (answer.status, answer.content_type) == (200, "text/plain")
    return {
        (sample.name, *(f"{name}={text}" for name, text in sorted(sample.labels.items()))): (
            sample.value
        )
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which temporary directories are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


# The port


def test_metrics_are_served_on_their_path_only() -> None:
    with MetricsServer("127.0.0.1", 0) as server:
        OWN.inc()

        assert scrape(server)["tested_total",] >= 1
        assert 404 == get(server.port, "/").status
        assert 404 == get(server.port, "/metrics/more").status


def test_a_port_in_use_is_refused_and_leaves_no_directory(temporary: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for in_children in (False, True):
            with pytest.raises(OSError, match="in use"):
                MetricsServer("127.0.0.1", port, in_children=in_children)

    assert [] == list(temporary.iterdir())


def test_the_port_is_free_again_after_the_block() -> None:
    with MetricsServer("127.0.0.1", 0) as server:
        port = server.port

    with MetricsServer("127.0.0.1", port) as server:
        assert 200 == get(port, "/metrics").status


def test_metrics_are_served_on_ipv6() -> None:
    try:
        server = MetricsServer("::1", 0)
    except OSError:
        pytest.skip("no IPv6 here")
    with server, socket.create_connection(("::1", server.port), PATIENCE) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert client.recv(99).startswith(b"HTTP/1.0 200 ")


def test_metrics_are_served_while_the_event_loop_is_blocked(blockbuster: object) -> None:
    blockbuster.deactivate()  # type: ignore[attr-defined]
    inside, release = threading.Event(), threading.Event()

    async def block() -> None:
        inside.set()
        release.wait(PATIENCE)

    with MetricsServer("127.0.0.1", 0) as server:
        blocked = threading.Thread(target=asyncio.run, args=[block()])
        blocked.start()
        inside.wait(PATIENCE)
        answers: list[Answer] = [get(server.port, "/metrics") for _ in range(3)]
        still_blocked = blocked.is_alive() and not release.is_set()
        release.set()
        blocked.join(PATIENCE)

    assert [200] * 3 == [answer.status for answer in answers]
    assert still_blocked


def test_silent_connections_do_not_delay_a_scrape() -> None:
    with MetricsServer("127.0.0.1", 0) as server:
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]

        assert 200 == get(server.port, "/metrics").status
        for client in silent:
            client.close()


# Several processes


def child(pipe: Connection) -> None:
    """Count the amounts from the pipe, in files."""
    counter = Counter("child_total", "Counted.", ["what"])
    histogram = Histogram("child_seconds", "Observed.", buckets=(1, 2))
    gauge = Gauge("child_gauge", "Set.", multiprocess_mode="livesum")
    lowest = Gauge("child_lowest", "Set.", multiprocess_mode="livemin")
    garbage = module.GarbageCounters()
    pipe.send("ready")
    while True:  # until it is killed
        amount = pipe.recv()
        counter.labels("a").inc(amount)
        histogram.observe(amount)
        gauge.set(amount)
        lowest.set(amount)
        gc.collect()
        garbage.refresh()
        pipe.send("done")


class Child:
    """A process that counts."""

    def __init__(self) -> None:
        self.pipe, other = SPAWN.Pipe()
        self.process = SPAWN.Process(target=child, args=[other])
        self.process.start()
        assert self.pipe.recv() == "ready"

    def count(self, amount: int) -> None:
        self.pipe.send(amount)
        assert self.pipe.recv() == "done"

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


Start = Callable[[], Child]


@pytest.fixture
def server(temporary: Path) -> Iterator[MetricsServer]:
    with MetricsServer("127.0.0.1", 0, in_children=True) as server:
        yield server
    assert [] == list(temporary.iterdir())
    assert module.DIRECTORY not in os.environ


@pytest.fixture
def start(server: MetricsServer) -> Iterator[Start]:
    """Start a process that counts."""
    assert server.port
    children: list[Child] = []

    def start() -> Child:
        children.append(Child())
        return children[-1]

    yield start
    for each in children:
        each.kill()


def counted(server: MetricsServer) -> tuple[float, ...]:
    found = scrape(server)
    return (
        found["child_total", "what=a"],
        found["child_seconds_count",],
        found["child_seconds_sum",],
        found["child_seconds_bucket", "le=1.0"],
    )


def test_values_of_processes_add_up(server: MetricsServer, start: Start) -> None:
    first, second = start(), start()
    first.count(1)
    second.count(2)
    second.count(4)

    assert (7, 3, 7, 1) == counted(server)
    found = scrape(server)
    assert (5, 1) == (found["child_gauge",], found["child_lowest",])


def test_counts_of_a_killed_process_stay_and_its_gauges_go(
    server: MetricsServer, start: Start, temporary: Path
) -> None:
    [directory] = temporary.iterdir()
    lasting = start()
    lasting.count(2)
    for number in (1, 4):
        ending = start()
        ending.count(number)
        before = counted(server)
        ending.kill()

        assert before == counted(server) == counted(server)
        found = scrape(server)
        assert (2, 2) == (found["child_gauge",], found["child_lowest",])

    assert (7, 3, 7, 1) == before
    pids = {name.stem.rpartition("_")[2] for name in directory.iterdir()}
    assert {"ended", str(lasting.process.pid)} == pids


def test_an_incomplete_file_of_a_killed_process_does_not_break_a_scrape(
    server: MetricsServer, start: Start, temporary: Path
) -> None:
    [directory] = temporary.iterdir()
    start().count(1)
    for number, data in enumerate([b"", b"\1", b"\xff" * 100]):
        (directory / f"counter_99999{number}.db").write_bytes(data)

    assert (1, 1, 1, 1) == counted(server)


def test_an_empty_file_of_a_running_process_does_not_break_a_scrape(
    server: MetricsServer, start: Start, temporary: Path
) -> None:
    [directory] = temporary.iterdir()
    child = start()
    child.count(1)
    begun = directory / f"summary_{child.process.pid}.db"
    begun.touch()

    assert (1, 1, 1, 1) == counted(server)
    assert begun.exists()


def test_memory_and_cpu_time_of_processes_add_up(server: MetricsServer, start: Start) -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("reads /proc")
    alone = scrape(server)
    child = start()
    both = scrape(server)
    child.kill()
    after = scrape(server)

    memory, spent = ("process_resident_memory_bytes",), ("process_cpu_seconds_total",)
    assert alone[memory] < both[memory] > after[memory]
    assert alone[spent] < both[spent] <= after[spent]


def test_the_garbage_collector_of_processes_is_counted(server: MetricsServer, start: Start) -> None:
    name = ("python_gc_collections_total", "generation=2")
    child = start()
    child.count(1)
    before = scrape(server)[name]
    child.count(1)

    assert scrape(server)[name] >= before + 1


def test_a_directory_set_by_another_program_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(module.DIRECTORY, str(tmp_path))

    with MetricsServer("127.0.0.1", 0):
        assert module.DIRECTORY not in os.environ


def test_concurrent_scrapes_count_nothing_twice(server: MetricsServer, start: Start) -> None:
    child = start()
    child.count(1)
    child.kill()
    found: list[tuple[float, ...]] = []
    threads = [threading.Thread(target=lambda: found.append(counted(server))) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(found) == len(threads))

    assert {(1, 1, 1, 1)} == set(found)
