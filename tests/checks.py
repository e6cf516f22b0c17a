"""What a baked project's own linter, formatter and type checker say against it."""

import hashlib
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path


def as_checked(files: Mapping[str, str]) -> str:
    """What the tools see of a project: two that are alike need one check."""
    settings = tomllib.loads(files["pyproject.toml"])
    python = sorted((name, text) for name, text in files.items() if name.endswith(".py"))
    seen = repr((python, settings["tool"], settings["project"]["requires-python"]))
    return hashlib.sha256(seen.encode()).hexdigest()


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Makes a folder hold these files and no others, touching those only that differ."""
    for path in filter(Path.is_file, list(folder.rglob("*"))):
        if path.relative_to(folder).as_posix() not in files and ".mypy_cache" not in path.parts:
            path.unlink()
    for name, text in files.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")


def complaints(files: Mapping[str, str], folder: Path, tools: Path) -> str:
    """What the project's own linter, formatter and type checker say against it."""
    write(folder, files)
    commands = (
        ("ruff", "check", "--no-cache"),
        ("ruff", "format", "--check", "--no-cache"),
        ("mypy",),
    )
    for name, *arguments in commands:
        done = subprocess.run(
            [tools / name, *arguments], cwd=folder, text=True, capture_output=True, check=False
        )
        if done.returncode:
            return f"{name}: {done.stdout}{done.stderr}"
    return ""
