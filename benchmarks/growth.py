"""`make bench ONLY=growth`: the cost of a request with more routes, hooks, bytes and so on.

The cost is counted in the processor's instructions, without a server; a busy machine does not
change it. Many connections need a server, so there the cost is the server's processor time.
"""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.console import Console

from . import alone, counting, plot
from .load import wrk
from .peers import PEERS
from .robustness import PUBLISHED, Table, show
from .serving import BYTECODE, HERE, ROOT, BenchError, Cores, serving, upstream_on

PAGE = "benchmarks.md"
MODULE = "benchmarks.growth_requests"
ENVIRONMENT = {
    "PYTHONPATH": f"{HERE.sources}{os.pathsep}{ROOT}",
    "PYTHONPYCACHEPREFIX": str(BYTECODE),
}
CONNECTIONS = (50, 400, 1000, 5000)
ROUTES = (10, 100, 1000)  # numbers of routes whose start-up time is measured
ROUNDS = 3
SERVED = {"template": "template", "fastapi": "fastapi-spared"}  # the peers with connections
LABELS = {"template": "this template", "fastapi": "FastAPI"}

Row = dict[str, Any]


class Growth(NamedTuple):
    """A growing quantity, and the unit of the cost."""

    label: str
    unit: str
    figure: str
    size_of: Callable[[int], float] = lambda _size: 1  # the divisor of the cost


GROWTHS: Mapping[str, Growth] = {
    "connections": Growth("connections", "request", "µs of processor time"),
    "routes": Growth("routes", "request", "thousands of instructions"),
    "paths": Growth("paths of one route with a variable", "request", "thousands of instructions"),
    "blueprints": Growth(
        "blueprints with hooks and error handlers", "request", "thousands of instructions"
    ),
    "upstreams": Growth("upstreams", "request", "thousands of instructions"),
    "received": Growth("bytes received", "byte", "instructions", lambda size: size / 1000),
    "sent": Growth("bytes sent", "byte", "instructions", lambda size: size / 1000),
    "streams": Growth("streams at once", "part of a stream", "thousands of instructions"),
    "start-up": Growth("routes, at the start", "route", "ms", lambda size: size),
}


def measure(console: Console, *, quick: bool) -> None:
    """Measures, prints and publishes; when quick, it only prints.

    Raises:
        BenchError: Valgrind is missing, or a peer does not start.
    """
    rows = []
    rounds = 1 if quick else ROUNDS
    for row in itertools.chain(starts(rounds), loads(rounds), counted()):
        rows.append(row)
        console.print(" ".join(f"{name}={value}" for name, value in row.items()), soft_wrap=True)
    tables = [table(rows)]
    for each in tables:
        show(each)
    if not quick:
        draw(rows)
        alone.publish("growth", rows, tables, PAGE)


def counted() -> Iterator[Row]:
    """The counts without a server.

    Raises:
        BenchError: Valgrind is missing, or a case failed.
    """
    with upstream_on(Cores().upstream, "prices_upstream", "good", "0") as port:
        env = ENVIRONMENT | {"BENCH_UPSTREAM": f"http://127.0.0.1:{port}"}
        try:
            counts = counting.instructions(MODULE, cwd=ROOT, env=env)
        except counting.CountError as error:
            raise BenchError(str(error)) from error
    for case, instructions in counts.items():
        peer, grows, size = case.split()
        # A stream has a part for every tenth request: see `growth_requests.PARTS_SHARE`.
        each = instructions * 10 / int(size) if grows == "streams" else instructions
        yield {"peer": peer, "grows": grows, "size": int(size), "cost": round(each / 1000, 3)}


def loads(rounds: int) -> Iterator[Row]:
    """The processor time of a request for each number of connections: the least of the rounds."""
    cores = Cores()
    found: dict[tuple[str, int], float] = {}
    for _ in range(rounds):
        for peer, name in SERVED.items():
            with serving(name, PEERS[name], core=cores.server) as server:
                wrk(server.port, "/noop", connections=50, seconds=1, core=cores.load)
                for size in CONNECTIONS:
                    server.settle()
                    cpu = server.cpu_seconds()
                    seconds = 6 if size > 1000 else 2  # noqa: PLR2004 (as `plan` has it)
                    load = wrk(
                        server.port, "/noop", connections=size, seconds=seconds, core=cores.load
                    )
                    cost = 1e6 * (server.cpu_seconds() - cpu) / max(1, load.answered)
                    found[peer, size] = min(cost, found.get((peer, size), cost))
    for (peer, size), cost in found.items():
        yield {"peer": peer, "grows": "connections", "size": size, "cost": round(cost, 1)}


def starts(rounds: int) -> Iterator[Row]:
    """The processor time of an application's start for each number of routes: the least."""
    for peer in LABELS:
        for size in ROUTES:
            times = [_start(peer, size) for _ in range(rounds)]
            cost = round(1000 * min(times), 1)
            yield {"peer": peer, "grows": "start-up", "size": size, "cost": cost}


def _start(peer: str, size: int) -> float:
    done = subprocess.run(
        [sys.executable, "-P", "-m", MODULE, "startup", peer, str(size)],
        cwd=ROOT,
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def table(rows: Sequence[Row]) -> Table:
    """The cost of each size, and the ratio of the largest and the smallest size."""
    lines = []
    for grows, about in GROWTHS.items():
        for peer, label in LABELS.items():
            costs = costs_of(rows, grows, peer)
            if costs:
                sizes, values = list(costs), list(costs.values())
                lines.append(
                    [
                        about.label,
                        label,
                        f"{about.figure} per {about.unit}",
                        ", ".join(f"{size:,}" for size in sizes),
                        ", ".join(f"{value:,.1f}" for value in values),
                        f"{sizes[-1] / sizes[0]:,.0f}",
                        f"{values[-1] / values[0]:.2f}",
                    ]
                )
    columns = ["what grows", "", "cost", "sizes", "costs", "size grows", "cost grows"]
    return Table("Cost of each as their number grows", columns, lines)


def costs_of(rows: Sequence[Row], grows: str, peer: str) -> dict[int, float]:
    """The cost by size of one peer."""
    about = GROWTHS[grows]
    own = (row for row in rows if row["grows"] == grows and row["peer"] == peer)
    by_size = {row["size"]: row["cost"] / about.size_of(row["size"]) for row in own}
    return dict(sorted(by_size.items()))


def draw(rows: Sequence[Row]) -> None:
    """Draws the cost of each size, divided by the cost of the smallest size."""
    with mpl.rc_context(plot.STYLE):
        figure = Figure(figsize=(11, 7.6), layout="constrained")
        panels = list(figure.subplots(3, 3).flat)
        for axes, (grows, about) in zip(panels, GROWTHS.items(), strict=True):
            for peer, label in LABELS.items():
                costs = costs_of(rows, grows, peer)
                ratios = [cost / next(iter(costs.values())) for cost in costs.values()]
                axes.plot(list(costs), ratios, "o-", color=plot.COLOURS[peer], label=label)
            axes.set_xscale("log")
            axes.set_title(about.label, fontsize=9)
            axes.set_ylabel(f"cost per {about.unit}", fontsize=8)
            axes.set_ylim(bottom=0)
        figure.suptitle("Cost of one, divided by that with the fewest", fontsize=11)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        figure.savefig(PUBLISHED / "growth.svg", metadata={"Date": None, "Creator": None})
