"""Environments with only the libraries' dependencies, kept from one run to the next."""

import os
from pathlib import Path

from .baking import ROOT
from .serving import LIBRARIES
from .uv import on_python, run

FOLDER = ROOT / ".cache" / "libraries"


def locked(version: str, group: str = "libraries") -> dict[str, str]:
    """The variables that make `uv run` use a Python's environment with the locked packages.

    The test is skipped if this machine does not have that Python.
    """
    folder = ROOT / ".cache" / group / version
    env = on_python(version) | {"UV_PROJECT_ENVIRONMENT": str(folder)}
    run("uv", "sync", "--locked", "--only-group", group, cwd=ROOT, env=env)
    return env | sources()


def oldest(version: str) -> dict[str, str]:
    """The same with the oldest versions that the libraries allow; `uv run --no-sync` keeps them."""
    folder = FOLDER / f"{version}-oldest"
    env = on_python(version) | {"UV_PROJECT_ENVIRONMENT": str(folder)}
    run("uv", "venv", "--allow-existing", folder, cwd=ROOT, env=env)
    install = ("uv", "pip", "install", "--python", folder, "--resolution", "lowest-direct")
    run(*install, "--group", ROOT / "pyproject.toml:libraries", cwd=ROOT, env=env)
    return env | sources()


def sources(*more: Path) -> dict[str, str]:
    """The variables that let Python import the libraries, and modules from these folders."""
    path = os.pathsep.join(map(str, (LIBRARIES, *more)))
    return {"PYTHONPATH": path, "PYTHONPYCACHEPREFIX": str(ROOT / ".cache" / "bytecode")}
