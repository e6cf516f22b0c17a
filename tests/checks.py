"""Runs a baked project's own linter, formatter and type checker on it."""

import hashlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .baking import ROOT

if sys.platform != "win32":
    import fcntl

FOLDER = ROOT / ".cache" / "bakes"  # kept for mypy's cache


def as_checked(files: Mapping[str, str]) -> str:
    """The part of a project that the tools check: projects with equal parts need one check."""
    settings = tomllib.loads(files["pyproject.toml"])
    python = sorted((name, text) for name, text in files.items() if name.endswith(".py"))
    seen = repr((python, settings["tool"], settings["project"]["requires-python"]))
    return hashlib.sha256(seen.encode()).hexdigest()


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Makes a folder hold exactly these files; writes only those that differ."""
    for path in filter(Path.is_file, list(folder.rglob("*"))):
        if path.relative_to(folder).as_posix() not in files and ".mypy_cache" not in path.parts:
            path.unlink()
    for name, text in files.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def knowing_types(platform: str = sys.platform) -> Iterator[tuple[str | Path, ...]]:
    """The arguments that let mypy reuse its cache of the packages from other bakes.

    Reading the packages takes six seconds, a bake less than a second. Only one worker of the tests
    at a time is inside: two at once would both read all, and overwrite each other's cache.
    """
    cache = FOLDER / platform
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield "--platform", platform, "--cache-dir", cache


def complaints(files: Mapping[str, str], folder: Path, tools: Path, *for_mypy: str | Path) -> str:
    """The complaints of the project's own linter, formatter and type checker."""
    write(folder, files)
    commands = (
        ("ruff", "check", "--no-cache"),
        ("ruff", "format", "--check", "--no-cache"),
        ("mypy", *for_mypy),
    )
    for name, *arguments in commands:
        done = subprocess.run(
            [tools / name, *arguments], cwd=folder, text=True, capture_output=True, check=False
        )
        if done.returncode:
            return f"{name}: {done.stdout}{done.stderr}"
    return ""
