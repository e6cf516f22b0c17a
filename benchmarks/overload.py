"""Overload by fan-out: very many clients each ask for many prices at once.

The server has a separate core. The clients, the upstream (50 ms for a reply, over real sockets) and
a process that asks `/livez` ten times a second share another core; the clients have the lowest
priority.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .robustness import Row, Table, counts, main, parser, report, services
from .services import FASTAPI, Service, running
from .serving import ROOT, BenchError, Cores, Server, upstream_on

NAME = "overload"
LOAD = ("connections", "symbols", "seconds", "pause", "ramp", "same")
PEERS = {
    "fastapi": FASTAPI,
    # A service without protection against overload: all calls are made at once, without a timeout.
    "fastapi-patient": FASTAPI._replace(
        label="FastAPI, no limits",
        variables=(("BENCH_DEADLINE", "300"), ("BENCH_CALL", "300"), ("BENCH_AT_ONCE", "20")),
    ),
}


def measure(name: str, service: Service, options: argparse.Namespace, cores: Cores) -> Row:
    """The outcomes of the clients and of the health checks of one service."""
    load = {name: getattr(options, name) for name in LOAD}
    with (
        upstream_on(cores.upstream, "prices_upstream") as upstream,
        running(f"overload-{name}", service, core=cores.server, upstream=upstream) as server,
        _client(
            "fan_out_load", json.dumps(load | {"port": server.port}), core=cores.load
        ) as clients,
        _client("prober", server.port, options.seconds, core=cores.load) as prober,
    ):
        _line(clients)  # once all are connected
        server.settle()
        idle, cpu, waited = server.memory(), server.cpu_seconds(), waited_for_core(server)
        begin = time.monotonic() + 0.5
        for process in (prober, clients):
            print(begin, file=process.stdin, flush=True)
        answered = json.loads(_line(clients))
        used = {
            "server_cpu_seconds": round(server.cpu_seconds() - cpu, 2),
            "server_waited_for_core_seconds": round(waited_for_core(server) - waited, 2),
        }
        probed = json.loads(_line(prober))
        peak = {"memory_idle": idle, "memory_peak": server.peak_memory()}
    return {"peer": name, "label": service.label, **answered, **probed, **used, **peak}


def waited_for_core(server: Server) -> float:
    """The seconds in which its main thread was ready to run, but waited for the core."""
    fields = Path(f"/proc/{server.process.pid}/schedstat").read_text().split()
    return int(fields[1]) / 1e9


@contextmanager
def _client(module: str, *arguments: object, core: int) -> Iterator[subprocess.Popen[str]]:
    """A client process, which reads the time to begin and prints its results."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    process = subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        os.sched_setaffinity(process.pid, {core})
        yield process
    finally:
        process.kill()
        process.communicate()


def _line(process: subprocess.Popen[str]) -> str:
    # Each client ends by itself: the prober last, at most a minute after the load.
    if process.stdout is None or not (line := process.stdout.readline()):
        message = f"{process.args!r} ended without a word."
        raise BenchError(message)
    return line


def tables(rows: list[Row]) -> list[Table]:
    """The answers of each service, and the latency of its health checks, by load."""
    columns = (
        *("service", "200", "with all prices", "503", "other", "lost connections", "unanswered"),
        *("livez, new: p50, p99, max ms", "livez, kept: p50, p99, max ms"),
        *("answers again after s", "CPU s, without a core s", "peak MB"),
    )
    loads = dict.fromkeys(row["load"] for row in rows)
    return [
        Table(load, columns, [_cells(row) for row in rows if row["load"] == load]) for load in loads
    ]


def _cells(row: Row) -> list[str]:
    times = [
        ", ".join(_figure(row[f"livez_{how}_ms"][name], 0) for name in ("p50", "p99", "max"))
        for how in ("new", "kept")
    ]
    return [
        row["label"],
        *(f"{row[name]:,}" for name in ("successes", "complete", "refused")),
        counts(row["other_statuses"]),
        counts(row["lost"]),
        f"{row['unanswered']:,}",
        *times,
        _figure(row["livez_after_load_s"], 2),
        ", ".join(_figure(row[f"server_{what}_seconds"], 1) for what in ("cpu", "waited_for_core")),
        f"{row['memory_peak'] / 1e6:.0f}",
    ]


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def details(row: Row) -> str:
    """A line of figures that show whether the measurement is valid."""
    late = row["prober_late_ms"]
    return (
        f"{row['label']}: 200 by second {row['successes_by_second']}; "
        f"{row['livez_failed']} health checks failed; the prober was late by "
        f"{late['p50']} ms at the median and {late['max']} ms at most; the clients used "
        f"{row['load_cpu_seconds']} s of their core; the server waited "
        f"{row['server_waited_for_core_seconds']} s for its own"
    )


def work() -> None:
    """Measures, prints and publishes."""
    options = _options()
    rows = []
    cores = Cores()
    for name, service in services(options, PEERS).items():
        rows.append(measure(name, service, options, cores))
        print(details(rows[-1]), flush=True)
    load = (
        f"{options.connections:,} clients, {options.symbols} symbols each, {options.seconds} s"
        + (", all the same symbols" if options.same else "")
        + (f", begun over {options.ramp:g} s" if options.ramp else "")
        + (f", {options.pause:g} s of patience after a refusal" if options.pause else "")
    )
    rows = [{"load": load, **row} for row in rows]
    report(NAME, rows, tables, options)


def _options() -> argparse.Namespace:
    found = parser(__doc__, PEERS)
    found.add_argument("--connections", type=int, default=3000, help="clients (3000)")
    found.add_argument("--symbols", type=int, default=20, help="of each request (20)")
    found.add_argument("--seconds", type=int, default=10, help="of load (10)")
    found.add_argument(
        "--pause", type=float, default=0.0, help="seconds that a refused client waits (0)"
    )
    found.add_argument(
        "--ramp", type=float, default=0.0, help="seconds over which clients begin (0)"
    )
    found.add_argument("--same", action="store_true", help="all clients ask for the same symbols")
    return found.parse_args()


if __name__ == "__main__":
    sys.exit(main(work))
