"""Runs uv, and the programs that it installs, on each Python that this machine has."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from scripts.interpreters import interpreter

__all__ = ["interpreter", "on_python", "run", "run_tests"]


def run(
    *command: str | Path, cwd: Path, env: Mapping[str, str] | None = None, answers: str = ""
) -> str:
    """The output of a command that reads `answers`; fails the test when it failed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        text=True,
        encoding="utf-8",
        errors="replace",
        input=answers,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, command))} exited {done.returncode}:\n{done.stdout}")
    return done.stdout


def on_python(version: str) -> dict[str, str]:
    """The variable that makes uv use this Python; skips the test if it is missing."""
    if not (python := interpreter(version)):
        pytest.skip(f"this machine has no Python {version}")
    return {"UV_PYTHON": python}


def run_tests(project: Path, env: dict[str, str], *versions: str) -> None:
    """Runs a project's own tests in an environment with its locked or with other versions."""
    run("uv", "sync", *(versions or ["--locked"]), cwd=project, env=env)
    for suite in ("tests", "tests/contract"):
        run("uv", "run", "--no-sync", "pytest", suite, cwd=project, env=env)
