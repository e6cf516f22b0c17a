"""Starts a peer on a separate core, and reads its processor time and memory from the kernel."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

from tests.serving import free_port

from .peers import Peer

ROOT = Path(__file__).parents[1]
PROJECT = "{{cookiecutter.project_slug}}"
CACHE = ROOT / ".cache" / "bench"
# For every started process: bytecode in the template's folder would be baked.
BYTECODE = ROOT / ".cache" / "bytecode"
START_SECONDS = 30
SETTLE_SECONDS = 10
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class BenchError(Exception):
    """An error message for the user."""


class Tree(NamedTuple):
    """A checkout of this repository, and the folder of its engine and its client."""

    root: Path
    sources: Path


HERE = Tree(ROOT, ROOT / PROJECT / "src")


class Cores:
    """The use of the cores: the server has a separate core, and with three cores the upstream too.

    Raises:
        BenchError: the machine has only one core, or processes cannot be bound to a core.
    """

    def __init__(self) -> None:
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        if len(cores) < 2:  # noqa: PLR2004 (one for the server, one for the load)
            message = "The benchmarks need Linux and two cores: one for the server, one for load."
            raise BenchError(message)
        self.server, self.load, self.upstream = cores[0], cores[1], cores[min(2, len(cores) - 1)]


class Server:
    """A running peer, with its child processes."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    def cpu_seconds(self) -> float:
        """Its processor time so far."""
        used = 0
        for pid in self._pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            used += int(fields[11]) + int(fields[12])
        return used / TICKS

    def threads(self) -> int:
        """The number of its threads."""
        return sum(self._status(pid, "Threads") for pid in self._pids())

    def memory(self) -> int:
        """Its resident memory in bytes."""
        return 1024 * sum(self._status(pid, "VmRSS") for pid in self._pids())

    def peak_memory(self) -> int:
        """Its peak of resident memory in bytes."""
        return 1024 * sum(self._status(pid, "VmHWM") for pid in self._pids())

    def forget_peak_memory(self) -> None:
        """Resets `peak_memory`: proc(5), `/proc/pid/clear_refs`."""
        for pid in self._pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def open_files(self) -> int:
        """The number of its open files and sockets."""
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in self._pids())

    def settle(self) -> None:
        """Returns once earlier requests are done, or after a timeout."""
        deadline = time.monotonic() + SETTLE_SECONDS
        with suppress(OSError, HTTPException):
            ask(self.port, timeout=SETTLE_SECONDS)  # waits behind queued requests
        while time.monotonic() < deadline:
            before = self.cpu_seconds()
            time.sleep(0.1)
            if self.cpu_seconds() - before < 0.02:  # noqa: PLR2004 (two ticks: it idles)
                return

    def workers(self) -> list[int]:
        """The ids of its child processes."""
        pid = self.process.pid
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

    def _pids(self) -> list[int]:
        return [self.process.pid, *self.workers()]

    def _status(self, pid: int, name: str) -> int:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
        return 0


@contextmanager
def started(  # noqa: PLR0913 (by keyword, most with a default)
    command: Sequence[str],
    name: str,
    *,
    core: int,
    env: dict[str, str] | None = None,
    output: int | None = None,
    cwd: Path = ROOT,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a process on its core; kills it and its children at the end.

    It logs to the cache folder, or to the given file descriptor.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=os.environ | {"PYTHONPYCACHEPREFIX": str(BYTECODE)} | (env or {}),
            stdout=log if output is None else output,
            stderr=log if output is None else output,
            start_new_session=True,
        )
    try:
        # Right after the start, for every thread and child to inherit it.
        os.sched_setaffinity(process.pid, {core})
        yield process
    finally:
        with suppress(ProcessLookupError):  # the process has ended already
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def serving(
    name: str, peer: Peer, *, core: int, tree: Tree = HERE, upstream: int | None = None
) -> Iterator[Server]:
    """Serves a peer, imported from `tree`; `upstream` is a port.

    Raises:
        BenchError: it does not start.
    """
    port = free_port()
    env = {
        "PYTHONPATH": f"{tree.sources}{os.pathsep}{tree.root}",
        "BENCH_CLIENT": peer.client,
        "BENCH_UPSTREAM": f"http://127.0.0.1:{upstream or 1}",
    }
    with started(peer.command(port), name, core=core, env=env, cwd=tree.root) as process:
        wait_until_ready(process, name, port)
        yield Server(process, port)


@contextmanager
def upstream_on(core: int, module: str = "upstream", *arguments: str) -> Iterator[int]:
    """Runs an upstream; yields its port. `arguments` follow the port on its command line."""
    port = free_port()
    command = [sys.executable, "-m", f"benchmarks.{module}", str(port), *arguments]
    with started(command, module, core=core) as process:
        wait_until_ready(process, module, port)
        yield port


def ask(port: int, path: str = "/noop", *, timeout: float) -> str:
    """The answer to one request.

    Raises:
        OSError, HTTPException: no answer arrives.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def wait_until_ready(process: subprocess.Popen[bytes], name: str, port: int) -> None:
    """Returns once the server answers.

    Raises:
        BenchError: with its log, if it ends early or takes too long.
    """
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            ask(port, timeout=5)
        except (OSError, HTTPException):
            time.sleep(0.02)
        else:
            return
    log = (CACHE / f"{name}.log").read_text(encoding="utf-8", errors="replace")
    message = f"{name} did not start. It logged:\n{log[-2000:]}"
    raise BenchError(message)
