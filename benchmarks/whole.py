"""The whole service and others with the same duties: `make bench ONLY=service`.

The engine's benchmarks leave out a service's duties for each request: its id, its log line, its
metrics, its headers and problems. Here a fresh bake runs as in production.
"""

import os
import resource
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.serving import free_port

from .bake import baked_service, templated_service
from .load import Load, wrk
from .robustness import Table
from .services import Service, running
from .serving import CACHE, HERE, ROOT, BenchError, Cores, Server, started, wait_until_ready
from .summary import MANY_ERRORS, Ratio

Row = dict[str, Any]

LOADS = ROOT / "benchmarks" / "loads"
CONNECTIONS = (50, 400)
ROUNDS = 4
WARM_UP_SECONDS = 1

# High limits, as only the work is measured. The times are in seconds, and long enough for a slow
# machine.
LIMITS = {
    "MAX_IN_FLIGHT": 2000,
    "REQUEST_TIMEOUT_SECONDS": 60,
    "PRICES__MAX_CONNECTIONS": 2000,
    "PRICES__TIMEOUT_SECONDS": 30,
    "PRICES__DEADLINE_SECONDS": 30,
}


class Work(NamedTuple):
    """A request, and the duration of its load at 400 connections; half of it at 50."""

    label: str
    path: str
    script: Path | None = None
    seconds: int = 2


WORKS = {
    "livez": Work("`/livez`, no line", "/livez"),
    "noop": Work("an async view that does nothing", "/nothing"),
    "sync": Work("a sync view that does nothing", "/sync/nothing"),
    "json": Work("JSON, 2 KB in and 10 KB out", "/report", LOADS / "report.lua"),
    "prices": Work("`/prices`, three calls of 50 ms", "/prices", LOADS / "prices.lua", 4),
}

# The names of the peers. The two that differ only by their client differ only on `/prices`.
LABELS = {
    "service": "this template, the whole service",
    "engine": "`FlaskToAsgi` alone",
    "fastapi": "FastAPI, same duties, same client",
    "fastapi-aiohttp": "FastAPI, same duties, bare aiohttp",
    "fastapi-template": "a service by `fastapi-template`, bare aiohttp",
}
ONLY_PRICES = {"fastapi-aiohttp"}

# The aims: the least ratio of throughput, at both numbers of connections.
AIMS = (
    ("engine", tuple(WORKS), 0.8),
    ("fastapi", tuple(WORKS), 1.0),
    ("fastapi-aiohttp", ("prices",), 0.9),
    ("fastapi-template", tuple(WORKS), None),
)


def peers() -> dict[str, Service]:
    """The measured services; makes the projects that they need.

    Raises:
        BenchError: a project cannot be made.
    """
    sources = ("PYTHONPATH", f"{HERE.sources}{os.pathsep}{ROOT}")
    generated = ("PYTHONPATH", f"{ROOT}{os.pathsep}{CACHE / 'fastapi-template/bench_template'}")
    bare = ("BENCH_CLIENT", "aiohttp")
    http = ("--http", "httptools", "--backlog", "2048")

    def fastapi(client: str) -> Service:
        return Service(
            LABELS[client],
            application="benchmarks.apps.dutiful:app",
            options=http,
            variables=(sources, bare) if client == "fastapi-aiohttp" else (sources,),
        )

    return {
        "service": Service(LABELS["service"], baked_service(), module="benchmarks.apps.extended"),
        "engine": Service(
            LABELS["engine"],
            application="benchmarks.apps.undutiful:asgi",
            options=http,
            variables=(sources,),
        ),
        "fastapi": fastapi("fastapi"),
        "fastapi-aiohttp": fastapi("fastapi-aiohttp"),
        "fastapi-template": Service(
            LABELS["fastapi-template"],
            templated_service(),
            module="benchmarks.apps.templated",
            variables=(generated, bare),
        ),
    }


def samples(*, quick: bool) -> Iterator[Row]:
    """Every load of every round.

    All services run from the start, and alternate at each load, so compared figures are
    measured within seconds. Each round begins with another service.

    Raises:
        BenchError: a peer cannot be made, does not start, or does not answer.
    """
    cores = Cores()
    with ExitStack() as stack:
        upstream = stack.enter_context(_upstream(cores.upstream))
        measured = {
            name: _Measured(
                stack.enter_context(_served(name, peer, cores, upstream)), upstream, cores
            )
            for name, peer in peers().items()
        }
        names = list(measured)
        for number in range(1 if quick else ROUNDS):
            turn = number % len(names)
            for work in WORKS:
                for name in names[turn:] + names[:turn]:
                    if work == "prices" or name not in ONLY_PRICES:
                        for row in _loads(name, work, measured[name], warm_up=not number):
                            yield {"peer": name, "round": number + 1} | row


def _served(
    name: str, peer: Service, cores: Cores, upstream: Server
) -> AbstractContextManager[Server]:
    env = {"METRICS_PORT": str(free_port())}
    return running(name, peer, core=cores.server, upstream=upstream.port, limits=LIMITS, env=env)


@contextmanager
def _upstream(core: int) -> Iterator[Server]:
    name, port = "prices_upstream", free_port()
    command = [sys.executable, "-m", f"benchmarks.{name}", str(port)]
    with started(command, name, core=core) as process:
        wait_until_ready(process, name, port)
        yield Server(process, port)


class _Measured(NamedTuple):
    """Processes that take part in a load."""

    server: Server
    upstream: Server
    cores: Cores

    def load(self, work: Work, connections: int, seconds: int) -> tuple[Load, float, float]:
        """The results of wrk, and the processor seconds on the server's and on wrk's core."""
        before = self._seconds()
        load = wrk(
            self.server.port,
            work.path,
            connections=connections,
            seconds=seconds,
            core=self.cores.load,
            script=work.script,
        )
        server, upstream, clients = (
            end - start for start, end in zip(before, self._seconds(), strict=True)
        )
        is_shared = self.cores.upstream == self.cores.load
        return load, server, clients + (upstream if is_shared else 0)

    def _seconds(self) -> tuple[float, float, float]:
        return self.server.cpu_seconds(), self.upstream.cpu_seconds(), _children_seconds()


def _loads(name: str, key: str, measured: _Measured, *, warm_up: bool) -> Iterator[Row]:
    work = WORKS[key]
    if warm_up:
        measured.load(work, CONNECTIONS[0], WARM_UP_SECONDS)
    for connections in CONNECTIONS:
        measured.server.settle()
        seconds = work.seconds if connections > CONNECTIONS[0] else work.seconds // 2
        load, used, clients = measured.load(work, connections, seconds)
        good = load.answered - load.refused
        if not good:
            message = f"{name} answered no request for {work.path}."
            raise BenchError(message)
        yield {
            "work": key,
            "connections": connections,
            "requests_per_second": round(load.requests_per_second, 1),
            "error_share": round(load.error_share, 4),
            "latency_ms": load.latency_ms,
            "cpu_us_per_request": round(used * 1e6 / good, 1),
            "load_core_share": round(clients / load.seconds, 3),
        }


def _children_seconds() -> float:
    """The processor time of the ended child processes, including wrk."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def medians(rows: Sequence[Row]) -> list[Row]:
    """One row for each work, number of connections and peer."""
    grouped: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row["work"], row["connections"], row["peer"]), []).append(row)
    return [
        {
            "work": work,
            "connections": connections,
            "peer": peer,
            "requests_per_second": _median(group, "requests_per_second"),
            "cpu_us_per_request": _median(group, "cpu_us_per_request"),
            "p99_ms": statistics.median(row["latency_ms"]["99"] for row in group),
            "error_share": _median(group, "error_share"),
            "load_core_share": _median(group, "load_core_share"),
        }
        for (work, connections, peer), group in grouped.items()
    ]


def _median(rows: Sequence[Row], figure: str) -> float:
    return statistics.median(float(row[figure]) for row in rows)


def ratios(rows: Sequence[Row]) -> list[Ratio]:
    """The whole service's throughput, and the inverse of its processor time, by the others'.

    Each is the median of the ratios of the rounds, so a slow moment of the machine, which lasts
    longer than a round, changes little. For both, larger is better.
    """
    found = {(row["work"], row["connections"], row["peer"], row["round"]): row for row in rows}
    rounds = sorted({row["round"] for row in rows})
    compared = []
    for peer, works, least in AIMS:
        for work in works:
            for connections in CONNECTIONS:
                pairs = [
                    (found[work, connections, "service", number], row)
                    for number in rounds
                    if (row := found.get((work, connections, peer, number)))
                ]
                if not pairs:
                    continue
                what = f"{work}, {connections} connections, whole service / {LABELS[peer]}"
                for name, figure, power in (
                    ("throughput", "requests_per_second", 1),
                    ("processor time, inverse", "cpu_us_per_request", -1),
                ):
                    each = [(ours[figure] / theirs[figure]) ** power for ours, theirs in pairs]
                    failing = any(
                        row["error_share"] > MANY_ERRORS for pair in pairs for row in pair
                    )
                    ratio = None if failing else round(statistics.median(each), 2)
                    compared.append(Ratio(f"{what}: {name}", ratio, least))
    return compared


def tables(results: Mapping[str, Any]) -> list[Table]:
    """The medians and the ratios, for `docs/benchmarks.md`."""
    rows = {
        (row["work"], row["connections"], row["peer"]): row for row in results["service_medians"]
    }
    points = [(work, count) for work in WORKS for count in CONNECTIONS]
    columns = ("", "at", *LABELS.values())

    def figures(figure: str) -> list[tuple[str, ...]]:
        return [
            (
                WORKS[work].label,
                str(count),
                *(_cell(rows.get((work, count, peer)), figure) for peer in LABELS),
            )
            for work, count in points
        ]

    found = {ratio["what"]: ratio for ratio in results["service_ratios"]}
    lines = []
    for peer, works, least in AIMS:
        for work in works:
            for count in CONNECTIONS:
                what = f"{work}, {count} connections, whole service / {LABELS[peer]}"
                both = [
                    found.get(f"{what}: {name}")
                    for name in ("throughput", "processor time, inverse")
                ]
                values = [ratio for ratio in both if ratio is not None]
                if values:
                    lines.append(
                        (
                            WORKS[work].label,
                            str(count),
                            LABELS[peer],
                            *(_figure(ratio["value"]) for ratio in values),
                            "" if least is None else f"{least:g}",
                            _verdict(values),
                        )
                    )
    return [
        Table("Requests per second", columns, figures("requests_per_second")),
        Table("Processor time per request, in µs", columns, figures("cpu_us_per_request")),
        Table(
            "The whole service, as a multiple of the others",
            ("", "at", "of", "throughput", "requests per processor time", "aim", "reached"),
            lines,
        ),
    ]


def _cell(row: Row | None, figure: str) -> str:
    if row is None:
        return ""
    failed = f" ({row['error_share']:.0%} failed)" if row["error_share"] > MANY_ERRORS else ""
    return f"{row[figure]:,.0f}{failed}"


def _figure(ratio: float | None) -> str:
    return "requests failed" if ratio is None else f"{ratio:.2f}"


def _verdict(ratios: Sequence[Mapping[str, Any]]) -> str:
    if ratios[0]["least"] is None:
        return ""
    reached = [ratio["reached"] for ratio in ratios]
    return "yes" if all(reached) else "no" if not any(reached) else "by one of both"


def results(rows: list[Row]) -> dict[str, Any]:
    """The published results."""
    return {
        "service_medians": medians(rows),
        "service_ratios": [each._asdict() | {"reached": each.reached} for each in ratios(rows)],
        "service_samples": rows,
    }
