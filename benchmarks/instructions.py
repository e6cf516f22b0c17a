"""Counts the processor's instructions for a no-op request, which no busy machine changes.

Valgrind runs a process twice, with few and with many requests. They go to the ASGI application
without a server, one after another; the difference is theirs.
"""

import os
import re
import shutil
import subprocess
import sys

from .serving import BYTECODE, ROOT, BenchError, Tree

FEW, MANY = 100, 400
COUNTED = re.compile(r"I\s+refs:\s+([\d,]+)")
DRIVER = ROOT / "benchmarks" / "noops.py"


def available() -> bool:
    """Whether there is Valgrind on this machine."""
    return shutil.which("valgrind") is not None


def per_request(tree: Tree) -> float:
    """The instructions for a no-op request to the engine of `tree`.

    Raises:
        BenchError: when the requests fail.
    """
    return (_counted(tree, MANY) - _counted(tree, FEW)) / (MANY - FEW)


def environment(tree: Tree) -> dict[str, str]:
    """The variables with which `DRIVER` makes its requests to the engine of `tree`."""
    return {
        "PYTHONPATH": f"{tree.sources}{os.pathsep}{tree.root}",
        "PYTHONPYCACHEPREFIX": str(BYTECODE),
        "PYTHONHASHSEED": "0",  # the same work each time
    }


def _counted(tree: Tree, requests: int) -> int:
    """The instructions of a process that makes so many requests and ends."""
    command = [
        *("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"),
        # By its path, as the package `benchmarks` is that of the tree.
        *(sys.executable, "-P", str(DRIVER), str(requests)),
    ]
    done = subprocess.run(
        command,
        cwd=tree.root,
        env=os.environ | environment(tree),
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode or not (counted := COUNTED.search(done.stderr)):
        message = f"Valgrind counted nothing:\n{done.stderr[-2000:]}"
        raise BenchError(message)
    return int(counted[1].replace(",", ""))
