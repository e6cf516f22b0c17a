"""Counts the processor's instructions for a no-op request, which no busy machine changes.

Valgrind runs a process twice, with few and with many requests. They go to the ASGI application
without a server, one after another; the difference is theirs.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .serving import BYTECODE, ROOT, BenchError, Tree

FEW, MANY = 100, 400
COUNTED = re.compile(r"I\s+refs:\s+([\d,]+)")
# Run by its path, as the package `benchmarks` may be that of another tree.
DRIVER = ROOT / "benchmarks" / "noops.py"


def available() -> bool:
    """Whether there is Valgrind on this machine."""
    return shutil.which("valgrind") is not None


def per_request(tree: Tree) -> float:
    """The instructions for a no-op request to the engine of `tree`.

    Raises:
        BenchError: when the requests fail.
    """
    return of_request(sys.executable, environment(tree), cwd=tree.root)


def of_request(
    python: str, variables: dict[str, str], arguments: Sequence[str] = (), cwd: Path = ROOT
) -> float:
    """The instructions for a request that `DRIVER` makes with these arguments behind the number.

    Raises:
        BenchError: when the requests fail.
    """

    def counted(requests: int) -> int:
        command = [python, "-P", str(DRIVER), str(requests), *arguments]
        return _counted(command, variables, cwd)

    counted(1)  # Python may compile what it imports, which is no part of a request
    return (counted(MANY) - counted(FEW)) / (MANY - FEW)


def environment(tree: Tree) -> dict[str, str]:
    """The variables with which `DRIVER` makes its requests to the engine of `tree`."""
    return {
        "PYTHONPATH": f"{tree.sources}{os.pathsep}{tree.root}",
        "PYTHONPYCACHEPREFIX": str(BYTECODE),
    }


def _counted(command: list[str], variables: dict[str, str], cwd: Path) -> int:
    """The instructions of a process, from its start to its end."""
    valgrind = (
        "valgrind",
        "--tool=cachegrind",
        "--cache-sim=no",
        "--cachegrind-out-file=/dev/null",
    )
    done = subprocess.run(
        [*valgrind, *command],
        cwd=cwd,
        env=os.environ | {"PYTHONHASHSEED": "0"} | variables,  # the same work each time
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode or not (counted := COUNTED.search(done.stderr)):
        message = f"Valgrind counted nothing:\n{done.stderr[-2000:]}"
        raise BenchError(message)
    return int(counted[1].replace(",", ""))
