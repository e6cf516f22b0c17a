"""Counts the processor's instructions of requests, case by case. A busy machine changes no count.

A module with a table of cases, such as `growth_requests`, runs under Valgrind and passes the table
to `fork_each`. So the module's imports run once for all cases. Each case runs in two child
processes, with few and with many requests; the difference of the two counts is the cost of the
further requests.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

FEW, MANY = 50, 150
COUNTED = re.compile(r"I\s+refs:\s+([\d,]+)")

# Counts the instructions of the command after it.
VALGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
SAME_WORK = {"PYTHONHASHSEED": "0"}  # in every run

# Makes this number of requests, one after another.
Case = Callable[[int], None]


class CountError(Exception):
    """An error message for the user."""


def available() -> bool:
    """Whether this machine has Valgrind."""
    return shutil.which("valgrind") is not None


def fork_each(cases: Mapping[str, Case], numbers: tuple[int, int] = (FEW, MANY)) -> None:
    """Run every case with few and with many requests, and print the id of each process.

    A case that fails ends this process with its traceback.
    """
    for name, case in cases.items():
        for number in numbers:
            if (child := os.fork()) == 0:
                _run_and_exit(case, number)
            if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
                sys.exit(f"{name} failed")
            print(json.dumps([name, number, child]), flush=True)


def _run_and_exit(case: Case, number: int) -> None:
    code = 1
    try:
        case(number)
        code = 0
    except Exception:  # noqa: BLE001 (no caller is left to show it)
        traceback.print_exc()
    os._exit(code)  # the interpreter's end does not belong to a request


def instructions(
    module: str,
    *arguments: str,
    python: str = sys.executable,
    cwd: Path,
    env: Mapping[str, str],
) -> dict[str, float]:
    """The instructions for one request of each case of `module`, which calls `fork_each`.

    Args:
        module: the module that Python runs.
        arguments: its command line.
        python: the interpreter of the environment for the module.
        cwd: its working directory.
        env: further variables of its environment.

    Raises:
        CountError: Valgrind is missing, or a case failed.
    """
    if not available():
        message = "valgrind is missing: `apt install valgrind` or `dnf install valgrind` has it."
        raise CountError(message)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                *(*VALGRIND, f"--log-file={folder}/%p"),
                *(python, "-P", "-m", module, *arguments),
            ],
            cwd=cwd,
            env={**os.environ, **SAME_WORK, **env},
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            message = f"{module} could not be counted:\n{done.stderr[-2000:]}"
            raise CountError(message)
        counts: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for name, number, child in map(json.loads, done.stdout.splitlines()):
            counts[name].append((number, _read(Path(folder, str(child)))))
    return {name: _of_one(*each) for name, each in counts.items()}


def _of_one(less: tuple[int, int], more: tuple[int, int]) -> float:
    return (more[1] - less[1]) / (more[0] - less[0])


def _read(log: Path) -> int:
    return counted(log.read_text(encoding="utf-8", errors="replace"))


def counted(log: str) -> int:
    """The instructions in Valgrind's log.

    Raises:
        CountError: the log has no count.
    """
    if not (found := COUNTED.search(log)):
        message = f"Valgrind counted nothing:\n{log[-2000:]}"
        raise CountError(message)
    return int(found[1].replace(",", ""))
