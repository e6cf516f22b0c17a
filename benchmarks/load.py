"""Runs wrk against a server and reads its output."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from .serving import BenchError

MISSING = "wrk is missing: `apt install wrk` (Debian, Ubuntu) or `dnf install wrk` (Fedora) has it."
TIMEOUT = "30s"  # a slow answer counts as slow; wrk's own 2 s would count it as an error
MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
SECONDS = {unit: factor / 1000 for unit, factor in MILLISECONDS.items()}

NUMBER = r"([\d.]+)(us|ms|s|m)"
LATENCY = re.compile(rf"^ +(50|75|90|99)% +{NUMBER} *$", re.MULTILINE)
TOTAL = re.compile(rf"^ +(\d+) requests in {NUMBER},", re.MULTILINE)
REFUSED = re.compile(r"^ +Non-2xx or 3xx responses: (\d+)$", re.MULTILINE)
SOCKETS = re.compile(
    r"^ +Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)$", re.MULTILINE
)


class Load(NamedTuple):
    """The results of a run of wrk."""

    answered: int
    refused: int  # answers except 2xx and 3xx
    socket_errors: int  # connections that failed, broke, or timed out
    seconds: float
    latency_ms: dict[str, float]  # by percentile, "50" to "99", over all answers

    @property
    def requests_per_second(self) -> float:
        """The throughput, without failed requests."""
        return (self.answered - self.refused) / self.seconds

    @property
    def error_share(self) -> float:
        """The share of failed requests; 1 without any answer."""
        tried = self.answered + self.socket_errors
        return (self.refused + self.socket_errors) / tried if tried else 1.0


def parse(output: str) -> Load:
    """The results in the output of `wrk --latency`.

    Raises:
        ValueError: the text is not an output of wrk.
    """
    if (total := TOTAL.search(output)) is None:
        message = f"wrk printed no total: {output!r}"
        raise ValueError(message)
    answered, duration, unit = total.groups()
    refused = REFUSED.search(output)
    sockets = SOCKETS.search(output)
    latency = {
        percentile: round(float(number) * MILLISECONDS[unit], 3)
        for percentile, number, unit in LATENCY.findall(output)
    }
    return Load(
        answered=int(answered),
        refused=int(refused[1]) if refused else 0,
        socket_errors=sum(map(int, sockets.groups())) if sockets else 0,
        seconds=float(duration) * SECONDS[unit],
        latency_ms=latency if int(answered) else {},
    )


def wrk(  # noqa: PLR0913 (by keyword)
    port: int, path: str, *, connections: int, seconds: int, core: int, script: Path | None = None
) -> Load:
    """Keeps these connections busy, each with one request after another, from one core.

    A script in Lua can define the requests.

    Raises:
        BenchError: wrk fails.
    """
    command = [
        *("wrk", "--latency", "--threads", "1", "--connections", str(connections)),
        *("--duration", f"{seconds}s", "--timeout", TIMEOUT),
        *(("--script", str(script)) if script else ()),
        f"http://127.0.0.1:{port}{path}",
    ]
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        os.sched_setaffinity(process.pid, {core})
        output, _ = process.communicate(timeout=seconds + 60)
    finally:
        process.kill()
    if process.returncode:
        message = f"wrk exited {process.returncode}: {output}"
        raise BenchError(message)
    return parse(output)


def version() -> str:
    """The version of wrk.

    Raises:
        BenchError: wrk is missing.
    """
    if not shutil.which("wrk"):
        raise BenchError(MISSING)
    printed = subprocess.run(["wrk", "--version"], text=True, capture_output=True, check=False)
    return printed.stdout.split(" [")[0].removeprefix("wrk ")
