"""`make bench ONLY=pythons`: the engine on each installed Python, on uvloop and on asyncio.

All runtimes take part in one run. In every round each runtime serves every work, and each round
begins with another runtime. A round gives one ratio to the first runtime: the oldest supported
Python, on uvloop.
"""

import json
import os
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from rich.console import Console

from scripts.interpreters import interpreter
from tests.serving import free_port

from . import alone, counting, growth
from .load import wrk
from .peers import PEERS
from .robustness import Table, show
from .serving import HERE, ROOT, BenchError, Cores, Server, started, wait_until_ready

PAGE = "decisions/python-of-the-image.md"
SUPPORTED: Sequence[str] = json.loads((ROOT / "cookiecutter.json").read_text())["python_version"]
LOOPS = ("uvloop", "asyncio")
# The works by their connections.
WORKS = {"noop": 50, "wait": 400, "sync": 50}
LABELS = {"noop": "async no-op", "wait": "async view that waits", "sync": "sync no-op"}
ROUNDS, SECONDS, WARM_UP_SECONDS = 5, 2, 1
COUNTED = "template paths 10"  # a case of `growth_requests`
FIGURES = {
    "requests_per_second": "Requests per second",
    "cpu_us_per_request": "Processor time per request",
}
ORDER = [f"{version}, {loop}" for version in SUPPORTED for loop in LOOPS]

Row = dict[str, Any]


class Runtime(NamedTuple):
    """A Python with the locked packages, and its event loop."""

    version: str
    executable: str
    loop: str

    @property
    def label(self) -> str:
        """Its name in a table."""
        return f"{self.version}, {self.loop}"


def measure(console: Console, *, quick: bool) -> None:
    """Measures, prints and publishes; when quick, it only prints one short round.

    Raises:
        BenchError: an environment cannot be made, or does not serve.
    """
    runtimes = [
        Runtime(version, executable, loop)
        for version, executable in environments().items()
        for loop in LOOPS
    ]
    rows = []
    for row in loads(runtimes, rounds=1 if quick else ROUNDS, seconds=1 if quick else SECONDS):
        rows.append(row)
        console.print(" ".join(f"{name}={value}" for name, value in row.items()), soft_wrap=True)
    tables = [compared(rows, figure) for figure in FIGURES]
    if counting.available():
        counts = counted(environments())
        rows += counts
        tables.append(instructions_table(counts))
    for each in tables:
        show(each)
    if not quick:
        alone.publish("pythons", rows, tables, PAGE)


def environments() -> dict[str, str]:
    """The interpreter of an environment with the locked packages, for each installed Python.

    Raises:
        BenchError: an environment cannot be made.
    """
    found = {}
    for version in SUPPORTED:
        if python := interpreter(version):
            folder = ROOT / ".cache" / "pythons" / version
            env = os.environ | {"UV_PYTHON": python, "UV_PROJECT_ENVIRONMENT": str(folder)}
            env.pop("VIRTUAL_ENV", None)
            command = [os.environ.get("UV", "uv"), "sync", "--quiet", "--locked"]
            done = subprocess.run(
                [*command, "--only-group", "bench"],
                cwd=ROOT,
                env=env,
                text=True,
                capture_output=True,
                check=False,
            )
            if done.returncode:
                message = f"No environment for Python {version}:\n{done.stderr[-2000:]}"
                raise BenchError(message)
            found[version] = str(folder / "bin/python")
    return found


def loads(runtimes: Sequence[Runtime], *, rounds: int, seconds: int) -> Iterator[Row]:
    """Every load of every round."""
    cores = Cores()
    for number in range(rounds):
        turn = number % len(runtimes)
        for runtime in (*runtimes[turn:], *runtimes[:turn]):
            with _serving(runtime, cores.server) as server:
                for work, connections in WORKS.items():
                    row = _load(server, work, connections, seconds, cores.load)
                    yield {"round": number + 1, "runtime": runtime.label, "work": work} | row


@contextmanager
def _serving(runtime: Runtime, core: int) -> Iterator[Server]:
    port = free_port()
    command = [runtime.executable, *PEERS["template"].command(port)[1:], "--loop", runtime.loop]
    env = {"PYTHONPATH": f"{HERE.sources}{os.pathsep}{HERE.root}"}
    name = f"python-{runtime.version}-{runtime.loop}"
    with started(command, name, core=core, env=env) as process:
        wait_until_ready(process, name, port)
        yield Server(process, port)


def _load(server: Server, work: str, connections: int, seconds: int, core: int) -> Row:
    path = f"/{work}"
    wrk(server.port, path, connections=connections, seconds=WARM_UP_SECONDS, core=core)
    server.settle()
    cpu = server.cpu_seconds()
    load = wrk(server.port, path, connections=connections, seconds=seconds, core=core)
    cpu = server.cpu_seconds() - cpu
    if not load.answered or load.error_share:
        message = f"{work}: {load.error_share:.0%} of the requests failed."
        raise BenchError(message)
    return {
        "requests_per_second": round(load.requests_per_second, 1),
        "cpu_us_per_request": round(cpu * 1e6 / load.answered, 1),
    }


def compared(rows: Sequence[Row], figure: str) -> Table:
    """A figure of each runtime, divided by the first runtime's figure of the same round."""
    found = {(row["round"], row["runtime"], row["work"]): row[figure] for row in rows}
    rounds = sorted({row["round"] for row in rows})
    names = sorted({row["runtime"] for row in rows}, key=ORDER.index)

    def ratios(name: str, work: str) -> list[float]:
        return [found[each, name, work] / found[each, names[0], work] for each in rounds]

    lines = [[name, *(_told(ratios(name, work)) for work in WORKS)] for name in names]
    title = f"{FIGURES[figure]}, divided by that of Python {names[0]}: median, lowest and highest"
    return Table(title, ["Python", *LABELS.values()], lines)


def counted(pythons: Mapping[str, str]) -> list[Row]:
    """The instructions of a no-op request without a server, on each Python.

    Raises:
        BenchError: the requests fail.
    """
    rows = []
    for version, executable in pythons.items():
        try:
            counts = counting.instructions(
                growth.MODULE, COUNTED, python=executable, cwd=ROOT, env=growth.ENVIRONMENT
            )
        except counting.CountError as error:
            raise BenchError(str(error)) from error
        rows.append({"python": version, "instructions": round(counts[COUNTED])})
    return rows


def instructions_table(rows: Sequence[Row]) -> Table:
    """The counts of instructions, and their ratios to the first."""
    first = rows[0]["instructions"]
    lines = [
        [row["python"], f"{row['instructions']:,}", f"{row['instructions'] / first:.2f}"]
        for row in rows
    ]
    title = "Instructions of an async no-op request, without a server"
    return Table(title, ["Python", "instructions", f"divided by {rows[0]['python']}"], lines)


def _told(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
