"""The cost of metrics, traces and log lines in a service: `make bench ONLY=observing`.

One bake, with the extra `otel`, answers the same requests with and without metrics, traces and log
lines. Spans go to a process that receives OTLP.
"""

import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from tests.serving import free_port

from . import counting
from .bake import observed_service
from .load import wrk
from .robustness import Table
from .services import CLOSED_PORT, Service, running
from .serving import ROOT, BenchError, Cores, Server, ask, started, wait_until_ready
from .summary import Ratio

Row = dict[str, Any]

ROUNDS = 14  # twice the number of modes, so that each mode is twice in every place of a round
SECONDS = 2
CONNECTIONS = 50

# Spans are sent after this many milliseconds, or once there are 512. The default of 5,000 would be
# after the load.
SPAN_DELAY = 1000


class Mode(NamedTuple):
    """The metrics, traces and log lines of a service."""

    label: str
    path: str = "/livez"  # a successful probe has no line
    variables: tuple[tuple[str, str], ...] = ()
    base: str = "nothing"  # the mode to compare with
    most: float | None = None  # the aim: a factor of processor time, and its inverse
    sampled: float | None = None  # the share of requests with a recorded span; None without traces


def _sampler(name: str, argument: str = "") -> tuple[tuple[str, str], ...]:
    chosen = (("OTEL_TRACES_SAMPLER", name), ("OTEL_PYTHON_EXCLUDED_URLS", "^nothing"))
    return (*chosen, ("OTEL_TRACES_SAMPLER_ARG", argument)) if argument else chosen


MODES = {
    "nothing": Mode("no metrics, no traces, no line"),
    "metrics": Mode("metrics", variables=(("METRICS_PORT", "{free}"),), most=1.05),
    "unsampled": Mode(
        "traces, none sampled", variables=_sampler("always_off"), most=1.1, sampled=0.0
    ),
    "tenth": Mode(
        "traces, one in ten sampled",
        variables=_sampler("traceidratio", "0.1"),
        most=1.2,
        sampled=0.1,
    ),
    "always": Mode("traces, all sampled", variables=_sampler("always_on"), sampled=1.0),
    "no-lines": Mode(
        "no line for a request", "/nothing", (("LOG_LEVEL", "WARNING"),), base="no-lines"
    ),
    "lines": Mode("a JSON line for each request", "/nothing", base="no-lines"),
}


def samples(*, quick: bool) -> Iterator[Row]:
    """Every mode in every round. All services run from the start, which keeps rounds short.

    Raises:
        BenchError: the template does not bake, a service does not start, or its spans do not
            arrive.
    """
    cores = Cores()
    with ExitStack() as stack:
        servers = dict(_servers(stack, cores))
        names = list(MODES)
        for number in range(1 if quick else ROUNDS):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                row = _load(MODES[name], servers[name], cores)
                yield {"mode": name, "round": number + 1} | row


def _servers(stack: ExitStack, cores: Cores) -> Iterator[tuple[str, Server]]:
    project = observed_service()
    service = Service("this template", project, module="benchmarks.apps.extended")
    for name, mode in MODES.items():
        receiver = stack.enter_context(_receiver(cores.load))
        env = _environment(mode, receiver)
        server = stack.enter_context(
            running(f"observing-{name}", service, core=cores.server, env=env)
        )
        wrk(server.port, mode.path, connections=CONNECTIONS, seconds=1, core=cores.load)
        _settle(server, mode)
        if bool(json.loads(ask(receiver, "/", timeout=60))) != bool(mode.sampled):
            message = f"The service with {mode.label} sent no spans, or should have sent none."
            raise BenchError(message)
        yield name, server


@contextmanager
def _receiver(core: int) -> Iterator[int]:
    """The port of a process that receives spans. It shares the core of the load."""
    name, port = "span_receiver", free_port()
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), str(port)]
    with started(command, name, core=core) as process:
        wait_until_ready(process, name, port)
        yield port


def _load(mode: Mode, server: Server, cores: Cores) -> Row:
    before = server.cpu_seconds()
    load = wrk(server.port, mode.path, connections=CONNECTIONS, seconds=SECONDS, core=cores.load)
    _settle(server, mode)
    used = server.cpu_seconds() - before
    return {
        "requests_per_second": round(load.requests_per_second, 1),
        "error_share": round(load.error_share, 4),
        "cpu_us_per_request": round(used * 1e6 / load.answered, 1),
    }


def _settle(server: Server, mode: Mode) -> None:
    """Returns once the spans of earlier requests are sent and their cost is counted."""
    if mode.sampled:
        time.sleep(1.5 * SPAN_DELAY / 1000)
    server.settle()


def _environment(mode: Mode, receiver: int) -> dict[str, str]:
    env = {name: value.format(free=free_port()) for name, value in mode.variables}
    if mode.sampled is not None:
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{receiver}"
        env["OTEL_BSP_SCHEDULE_DELAY"] = str(SPAN_DELAY)
    return env


def instructions_of_modes(*, quick: bool) -> Iterator[Row]:
    """The instructions of the server's process for a request, including the sending of spans.

    Other processes do not change them. Without Valgrind there are no rows.

    Raises:
        BenchError: a service does not start or answer.
    """
    if quick or not counting.available():
        return
    project = observed_service()
    with _receiver(Cores().load) as receiver:
        modes = {
            name: {"path": mode.path, "variables": _served(mode, receiver)}
            for name, mode in MODES.items()
        }
        env = {"PYTHONPATH": str(ROOT), "BENCH_MODES": json.dumps(modes)}
        python = str(project / ".venv/bin/python")
        try:
            counted = counting.instructions(
                "benchmarks.observing_requests", python=python, cwd=ROOT, env=env
            )
        except counting.CountError as error:
            raise BenchError(str(error)) from error
    for name, each in counted.items():
        yield {"mode": name, "instructions": round(each)}


def _served(mode: Mode, receiver: int) -> dict[str, str]:
    service = Service("this template", ROOT)
    # Spans are sent once there are 512, and at the end: the runs of a timer would be random.
    delay = {"OTEL_BSP_SCHEDULE_DELAY": "3600000", "SHUTDOWN_DELAY_SECONDS": "0"}
    return service.environment(free_port(), CLOSED_PORT, {}) | _environment(mode, receiver) | delay


def medians(rows: Sequence[Row], counted: Sequence[Row]) -> list[Row]:
    """One row for each mode."""
    instructions_of = {row["mode"]: row["instructions"] for row in counted}
    return [
        {
            "mode": name,
            "requests_per_second": _median(name, rows, "requests_per_second"),
            "cpu_us_per_request": _median(name, rows, "cpu_us_per_request"),
            "instructions": instructions_of.get(name),
        }
        for name in MODES
    ]


def _median(mode: str, rows: Sequence[Row], figure: str) -> float:
    return statistics.median(float(row[figure]) for row in rows if row["mode"] == mode)


def ratios(rows: Sequence[Row], counted: Sequence[Row]) -> list[Ratio]:
    """The cost of each mode, as a multiple: the median of the ratios of the rounds."""
    found = {(row["mode"], row["round"]): row for row in rows}
    rounds = sorted({row["round"] for row in rows})
    instructions_of = {row["mode"]: row["instructions"] for row in counted}
    compared = []
    for name, mode in MODES.items():
        if name == mode.base:
            continue
        pairs = [(found[name, number], found[mode.base, number]) for number in rounds]
        for what, figure, power in (
            ("processor time", "cpu_us_per_request", 1),
            ("throughput, inverse", "requests_per_second", -1),
        ):
            each = [(one[figure] / other[figure]) ** power for one, other in pairs]
            ratio = round(statistics.median(each), 3)
            compared.append(Ratio(f"{mode.label}: {what}", ratio, most=mode.most))
        if name in instructions_of:
            ratio = round(instructions_of[name] / instructions_of[mode.base], 3)
            compared.append(Ratio(f"{mode.label}: instructions", ratio))
    return compared


def tables(results: Mapping[str, Any]) -> list[Table]:
    """The medians and the ratios, for `docs/benchmarks.md`."""
    found = {ratio["what"]: ratio for ratio in results["observing_ratios"]}
    lines = []
    for row in results["observing_medians"]:
        mode = MODES[row["mode"]]
        whats = [
            found.get(f"{mode.label}: {what}")
            for what in ("processor time", "throughput, inverse", "instructions")
        ]
        reached = [ratio["reached"] for ratio in whats if ratio and ratio["most"] is not None]
        lines.append(
            (
                mode.label,
                f"`{mode.path}`",
                f"{row['requests_per_second']:,.0f}",
                f"{row['cpu_us_per_request']:,.0f}",
                f"{row['instructions']:,}" if row["instructions"] else "",
                *(f"{ratio['value']:.2f}" if ratio else "" for ratio in whats),
                "" if mode.most is None else f"{mode.most:g}",
                _verdict(reached),
            )
        )
    columns = (
        *("what is seen", "asked for", "requests per second", "processor time, µs"),
        *("instructions", "processor time, ratio", "throughput, inverse ratio"),
        *("instructions, ratio", "at most", "reached"),
    )
    return [Table("What it costs to see inside", columns, lines)]


def _verdict(reached: Sequence[bool]) -> str:
    if not reached:
        return ""
    return "yes" if all(reached) else "no" if not any(reached) else "by one of both"


def results(rows: list[Row], counted: list[Row]) -> dict[str, Any]:
    """The published results."""
    compared = ratios(rows, counted)
    return {
        "observing_medians": medians(rows, counted),
        "observing_ratios": [each._asdict() | {"reached": each.reached} for each in compared],
        "observing_samples": rows,
    }
