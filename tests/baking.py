"""Bakes the template for the tests, and lists the combinations of answers."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from itertools import combinations, product
from pathlib import Path
from typing import Any

from scripts.baking import ROOT, bake

__all__ = [
    "CHOICES",
    "OLDEST",
    "PYTHONS",
    "QUESTIONS",
    "ROOT",
    "bake",
    "contents",
    "describe",
    "on_command_line",
    "single_values_and_pairs",
]

QUESTIONS: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))

# The choices of every question with a list or with yes and no; the default is first.
CHOICES: dict[str, list[Any]] = {
    name: [default, not default] if isinstance(default, bool) else default
    for name, default in QUESTIONS.items()
    if isinstance(default, (bool, list)) and not name.startswith("_")
}

PYTHONS: list[str] = CHOICES["python_version"]
OLDEST = PYTHONS[0]


def single_values_and_pairs() -> list[dict[str, Any]]:
    """Every value of every choice, and every pair of values of two choices; the rest by default."""
    pairs = (
        {first: first_value, second: second_value}
        for first, second in combinations(CHOICES, 2)
        for first_value, second_value in product(CHOICES[first], CHOICES[second])
    )
    singles = ({name: value} for name, values in CHOICES.items() for value in values)
    unique: dict[str, dict[str, Any]] = {}
    for answers in ({}, *singles, *pairs):
        chosen = {name: value for name, value in answers.items() if value != CHOICES[name][0]}
        unique.setdefault(describe(chosen), chosen)
    return list(unique.values())


def describe(answers: dict[str, Any]) -> str:
    """The answers that differ from the defaults, as the name of a test."""
    return " ".join(f"{name}={value}" for name, value in sorted(answers.items())) or "defaults"


def on_command_line(
    *arguments: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    program: tuple[str | Path, ...] = (sys.executable, "-m", "cookiecutter"),
) -> subprocess.CompletedProcess[str]:
    """The result of `cookiecutter` on the command line, as a user or a CI system calls it.

    It runs in the folder `cwd`, and with the user's configuration, unlike `bake`.
    """
    return subprocess.run(
        [*program, *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        text=True,
        encoding="utf-8",
        capture_output=True,
        check=False,
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, by its path there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
