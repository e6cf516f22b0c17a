"""Counts the processor's instructions of a no-op request, which do not depend on the load.

Valgrind runs a process twice, with few and with many requests. They go to the ASGI application
without a server, one after another. The difference is the cost of the further requests.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .counting import SAME_WORK, VALGRIND, CountError, counted
from .serving import BYTECODE, ROOT, BenchError, Tree

FEW, MANY = 100, 400
# Run by its path, as the package `benchmarks` may belong to another tree.
DRIVER = ROOT / "benchmarks" / "noops.py"


def per_request(tree: Tree) -> float:
    """The instructions of a no-op request to the engine of `tree`.

    Raises:
        BenchError: the requests fail.
    """

    def instructions_of(requests: int) -> int:
        command = [sys.executable, "-P", str(DRIVER), str(requests)]
        return of_process(command, environment(tree), tree.root)

    instructions_of(1)  # Python may compile its imports, which is no part of a request
    return (instructions_of(MANY) - instructions_of(FEW)) / (MANY - FEW)


def environment(tree: Tree) -> dict[str, str]:
    """The variables for `DRIVER` and its requests to the engine of `tree`."""
    return {
        "PYTHONPATH": f"{tree.sources}{os.pathsep}{tree.root}",
        "PYTHONPYCACHEPREFIX": str(BYTECODE),
    }


def of_process(command: Sequence[str], variables: Mapping[str, str], cwd: Path = ROOT) -> int:
    """The instructions of a process, from its start to its end.

    Raises:
        BenchError: the process fails.
    """
    done = subprocess.run(
        [*VALGRIND, *command],
        cwd=cwd,
        env={**os.environ, **SAME_WORK, **variables},
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        message = f"What was counted failed:\n{done.stderr[-2000:]}"
        raise BenchError(message)
    try:
        return counted(done.stderr)
    except CountError as error:
        raise BenchError(str(error)) from error
