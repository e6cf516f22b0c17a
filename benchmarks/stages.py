"""`make bench ONLY=stages`: the instructions of a request to the whole service, by stage.

A profiler that counts instructions does not see Python functions. So each stage is the difference
between two counts: with it, and without it. The duties of the service are removed one by one. The
rest is compared with plain Flask, with the bare engine, and with a bare ASGI function.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from rich.console import Console

from . import alone, counting
from .bake import baked_service
from .robustness import Table, show
from .serving import BYTECODE, ROOT, BenchError, Cores, upstream_on

PAGE = "decisions/where-the-time-goes.md"
TARGETS = {"livez": "`/livez`", "prices": "`/prices`"}

# Each duty is present in one case and absent in the next: see `stage_requests.DUTIES`.
DUTIES = (
    "access line, formatted and written",
    "metrics",
    "ids, and the end of the request",
    "the time that the caller allows",
    "problems, which cost nothing while all is well",
    "headers of every answer, readiness, the host",
    "strict JSON and query",
)
# Each does more than the one before.
CALLS = {
    "calls aiohttp": "aiohttp alone, gathered",
    "calls plain": "`Upstream` without retries and sharing, gathered",
    "calls upstream": "`Upstream`, gathered",
    "calls fan_out": "`Upstream` in `fan_out`",
    "calls client": "the service's client, with its checks and decimals",
}

Counts = Mapping[str, float]


def measure(_console: Console, *, quick: bool) -> None:
    """Counts, prints and publishes; when quick, it only prints the stages of `/livez`.

    Raises:
        BenchError: Valgrind is missing, or the service does not start.
    """
    counts = counted("livez" if quick else "")
    tables = [stages(counts)] if quick else [stages(counts), calls(counts)]
    for each in tables:
        show(each)
    if not quick:
        rows = [{"case": name, "instructions": round(count)} for name, count in counts.items()]
        alone.publish("stages", rows, tables, PAGE)


def counted(only: str = "") -> dict[str, float]:
    """The instructions of a request of every case, or of the cases of one target only.

    Raises:
        BenchError: Valgrind is missing, or a case failed.
    """
    python = baked_service() / ".venv/bin/python"
    names = ["bare", "engine", "flask", *(f"{only} {n}" for n in range(len(DUTIES) + 1))]
    with upstream_on(Cores().upstream, "prices_upstream", "good", "0") as port:
        try:
            return counting.instructions(
                "benchmarks.stage_requests",
                *(names if only else ()),
                python=str(python),
                cwd=ROOT,
                env={
                    "PYTHONPATH": str(ROOT),
                    "PYTHONPYCACHEPREFIX": str(BYTECODE),
                    "BENCH_UPSTREAM": f"http://127.0.0.1:{port}",
                },
            )
        except counting.CountError as error:
            raise BenchError(str(error)) from error


def stages(counts: Counts) -> Table:
    """The instructions by stage, for each target: from a bare function to the whole service."""
    columns = {target: _of_one(counts, target) for target in TARGETS if f"{target} 0" in counts}
    rows = []
    for stage in next(iter(columns.values())):
        cells = (_with_share(column[stage], column["all"]) for column in columns.values())
        rows.append([stage, *cells])
    title = "Thousands of instructions per request, and their share"
    return Table(title, ["stage", *(TARGETS[target] for target in columns)], rows)


def _of_one(counts: Counts, target: str) -> dict[str, float]:
    # From the whole service down to the service without duties.
    service = [counts[f"{target} {absent}"] for absent in range(len(DUTIES) + 1)]
    duties = dict(zip(DUTIES, (more - less for more, less in pairwise(service)), strict=True))
    return {
        "the request itself: a bare ASGI function": counts["bare"],
        "the engine, over a WSGI function": counts["engine"] - counts["bare"],
        "Flask and Werkzeug, over the engine": counts["flask"] - counts["engine"],
        "the view": service[-1] - counts["flask"],
        **dict(reversed(duties.items())),
        "all": service[0],
    }


def calls(counts: Counts) -> Table:
    """The instructions of the three calls of `/prices`, with more and more layers."""
    rows: list[Sequence[str]] = [
        [label, _thousands(counts[name]), f"{counts[name] / counts['calls aiohttp']:.2f}"]
        for name, label in CALLS.items()
    ]
    title = "Thousands of instructions for three calls at once"
    return Table(title, ["three calls by", "", "times aiohttp"], rows)


def _with_share(count: float, whole: float) -> str:
    return f"{_thousands(count)} ({round(100 * count / whole)} %)"


def _thousands(count: float) -> str:
    return f"{round(count / 1000):,}"
