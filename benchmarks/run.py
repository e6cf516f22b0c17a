"""Takes the measurements of a plan."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from .load import wrk
from .open_loop import CALLS
from .peers import CALLERS, PEERS
from .plan import Plan
from .serving import HERE, ROOT, BenchError, Cores, Server, Tree, ask, serving, upstream_on

WARM_UP_SECONDS = 1

# The callers of a service whose upstream fails: requests a second, and the timeout of each.
RATE = 50
PATIENCE_SECONDS = 1.0
OPEN_WARM_UP_SECONDS = 0.4

Row = dict[str, Any]


class Bench(NamedTuple):
    """The settings of a measurement."""

    plan: Plan
    cores: Cores
    tree: Tree = HERE


def loads(bench: Bench) -> Iterator[Row]:
    """Every load of every round.

    Within a round the peers alternate, so a slow moment of the machine affects all of them. Each
    round begins with another peer.
    """
    with upstream_on(bench.cores.upstream) as upstream:
        for round_number in range(bench.plan.rounds):
            for work, peers in bench.plan.loads.items():
                names = [name for name, counts in peers.items() if counts]
                turn = round_number % len(names)
                for name in names[turn:] + names[:turn]:
                    for row in loads_of_one(bench, work, name, upstream):
                        yield {"work": work, "peer": name, "round": round_number + 1} | row


def loads_of_one(bench: Bench, work: str, name: str, upstream: int) -> Iterator[Row]:
    """The loads of one peer with one work, in a new process; `upstream` is a port."""
    cores, path = bench.cores, f"/{work}"
    with serving(
        name, PEERS[name], core=cores.server, tree=bench.tree, upstream=upstream
    ) as server:
        wrk(server.port, path, connections=50, seconds=WARM_UP_SECONDS, core=cores.load)
        for connections in bench.plan.loads[work][name]:
            server.settle()
            seconds = bench.plan.seconds(work, connections)
            row = _load(server, path, connections, seconds, cores.load)
            yield {"connections": connections} | row


def _load(server: Server, path: str, connections: int, seconds: int, core: int) -> Row:
    cpu = server.cpu_seconds()
    load = wrk(server.port, path, connections=connections, seconds=seconds, core=core)
    cpu = server.cpu_seconds() - cpu
    return {
        "requests_per_second": round(load.requests_per_second, 1),
        "error_share": round(load.error_share, 4),
        "latency_ms": load.latency_ms,
        "cpu_us_per_request": round(cpu * 1e6 / load.answered, 1) if load.answered else None,
    }


def in_flight(bench: Bench) -> Iterator[Row]:
    """Memory and threads of one worker, by the number of requests in flight."""
    for name, counts in bench.plan.in_flight.items():
        for count in counts:
            with _served(bench, name) as server:
                idle = server.memory()
                # Longer for more requests: the first must be in flight when the last arrives.
                row = _hold(bench, server, count, 2 + count / 2000)
                peak = server.peak_memory()
                yield {
                    "peer": name,
                    "memory_idle": idle,
                    "memory_peak": peak,
                    "memory_per_request": round((peak - idle) / count),
                } | row


def recipe_comparison(bench: Bench) -> Iterator[Row]:
    """The figures of the published recipe and of this template."""
    for name in bench.plan.recipes:
        with _served(bench, name) as server:
            ten = _hold(bench, server, 10, 0.2)
            server.settle()
            kept = wrk(server.port, "/noop", connections=10, seconds=3, core=bench.cores.load)
            server.settle()
            hundred = _hold(bench, server, 100, 0.1)
            yield {
                "peer": name,
                "ten_waits_of_200_ms_seconds": ten["seconds"],
                "kept_alive_requests": kept.answered,
                "kept_alive_errors": kept.refused + kept.socket_errors,
                "inside_of_100": hundred["most_inside"],
                "threads_of_100": hundred["threads"],
            }


def goodput(bench: Bench) -> Iterator[Row]:
    """The callers' answers, and the upstream's load, while a share of its calls fail."""
    cores = bench.cores
    with upstream_on(cores.upstream, "faulty_upstream") as upstream:
        for name, shares in bench.plan.goodput.items():
            for share in shares:
                ask(upstream, "/fail/0", timeout=5)
                with serving(
                    f"prices-{name}",
                    CALLERS[name],
                    core=cores.server,
                    tree=bench.tree,
                    upstream=upstream,
                ) as server:
                    _ask_openly(server.port, OPEN_WARM_UP_SECONDS, core=cores.load)
                    ask(upstream, f"/fail/{share}", timeout=5)
                    seconds = bench.plan.goodput_seconds(name, share)
                    row = _ask_openly(server.port, seconds, core=cores.load)
                    calls = int(ask(upstream, "/received", timeout=5))
                yield {"peer": name, "failing_share": share} | _goodput(row, calls)


def _goodput(row: Row, calls: int) -> Row:
    requests = row["requests"]
    return row | {
        "upstream_calls": calls,
        "answered_share": round((row["complete"] + row["partial"]) / requests, 4),
        "complete_share": round(row["complete"] / requests, 4),
        "upstream_load": round(calls / (CALLS * requests), 4),
    }


def _ask_openly(port: int, seconds: float, *, core: int) -> Row:
    return _printed("open_loop", port, RATE, seconds, PATIENCE_SECONDS, core=core)


@contextmanager
def _served(bench: Bench, name: str) -> Iterator[Server]:
    # Every measurement has a new process: processes rarely return memory.
    cores = bench.cores
    with serving(name, PEERS[name], core=cores.server, tree=bench.tree) as server:
        _ask_to_hold(server.port, 20, 0.0, core=cores.load)  # the first requests load code
        server.settle()
        yield server


def _hold(bench: Bench, server: Server, count: int, seconds: float) -> Row:
    """The outcomes of the requests, and the server's peak of threads."""
    threads = [server.threads()]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            threads.append(server.threads())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        row = _ask_to_hold(server.port, count, seconds, core=bench.cores.load)
    finally:
        done.set()
        watcher.join()
    return row | {"threads": max(threads)}


def _ask_to_hold(port: int, count: int, seconds: float, *, core: int) -> Row:
    return _printed("in_flight", port, count, seconds, core=core)


def _printed(client: str, *arguments: float, core: int) -> Row:
    """The output of a client process."""
    command = [sys.executable, "-m", f"benchmarks.{client}", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        os.sched_setaffinity(process.pid, {core})
        printed, _ = process.communicate(timeout=180)
    finally:
        process.kill()
    if process.returncode:
        message = f"The client {client} exited {process.returncode}."
        raise BenchError(message)
    row: Row = json.loads(printed)
    return row
