"""Runs uv, and what it installs, for bakes, on each Python that this machine has."""

import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest


def run(
    *command: str | Path, cwd: Path, env: Mapping[str, str] | None = None, answers: str = ""
) -> str:
    """What a command printed, given `answers` to read; fails the test when it failed."""
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
    """The variable that makes uv use this Python; skips the test where there is none."""
    if not (python := interpreter(version)):
        pytest.skip(f"this machine has no Python {version}")
    return {"UV_PYTHON": python}


@cache
def interpreter(version: str) -> str:
    """The path of this version of Python; empty when uv does not find one."""
    found = subprocess.run(
        ["uv", "python", "find", "--no-project", version],
        env=os.environ | pyenv(),
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip()


def pyenv() -> dict[str, str]:
    """The variable without which pyenv answers for the one version that is selected only."""
    for folder in map(Path, os.get_exec_path()):
        versions = folder.parent / "versions"
        if folder.name == "shims" and versions.is_dir():
            names = sorted(path.name for path in versions.iterdir())
            return {"PYENV_VERSION": ":".join(reversed(names))}
    return {}


def run_tests(project: Path, env: dict[str, str], *versions: str) -> None:
    """Runs a project's own tests in an environment with what it locks, or other versions."""
    run("uv", "sync", *(versions or ["--locked"]), cwd=project, env=env)
    for suite in ("tests", "tests/contract"):
        run("uv", "run", "--no-sync", "pytest", suite, cwd=project, env=env)
