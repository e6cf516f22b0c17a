"""Finds the Pythons that this machine has."""

import os
import subprocess
from functools import cache
from pathlib import Path


@cache
def interpreter(version: str) -> str:
    """The path of this version of Python; empty when uv does not find one."""
    found = subprocess.run(
        [os.environ.get("UV", "uv"), "python", "find", "--no-project", version],
        env=os.environ | _pyenv(),
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip()


def _pyenv() -> dict[str, str]:
    """The variable that pyenv needs to find other versions than the selected one."""
    for folder in map(Path, os.get_exec_path()):
        versions = folder.parent / "versions"
        if folder.name == "shims" and versions.is_dir():
            names = sorted(path.name for path in versions.iterdir())
            return {"PYENV_VERSION": ":".join(reversed(names))}
    return {}
