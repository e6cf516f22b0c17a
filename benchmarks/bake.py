"""Bakes the template, so that what is measured is what a user gets."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from .serving import CACHE, ROOT, BenchError


def baked_sources() -> Path:
    """The folder that a fresh bake's package is in.

    Raises:
        BenchError: with what Cookiecutter printed, when the template does not bake.
    """
    # The example is not measured.
    return _bake(ROOT, CACHE / "bake", "include_example=no") / "src"


def baked_service(revision: str = "") -> Path:
    """The folder of a fresh bake of the default service, with its own virtual environment.

    Args:
        revision: a commit of this repository; the files as they are now, if it is empty.

    Raises:
        BenchError: when there is no such commit, or the template does not bake.
    """
    if not revision:
        return synced(_bake(ROOT, CACHE / "service"))
    git = ("git", "-C", str(ROOT))
    commit = _output([*git, "rev-parse", "--short", revision], "No such commit").decode().strip()
    output = CACHE / f"service-{commit}"
    if (output / "price-service/.venv").is_dir():  # a commit stays as it is
        return output / "price-service"
    template = CACHE / f"template-{commit}"
    with tarfile.open(fileobj=io.BytesIO(_output([*git, "archive", commit], "No files"))) as files:
        files.extractall(template, filter="data")
    return synced(_bake(template, output))


def synced(project: Path) -> Path:
    """A baked project, once it has an environment with what `uv.lock` names.

    Raises:
        BenchError: when it cannot be made.
    """
    if not (project / "uv.lock").is_file():
        message = f"{project} is not a baked project: it has no uv.lock."
        raise BenchError(message)
    # The benchmarks run under uv, which says where it is.
    uv = os.environ.get("UV", "uv")
    command = [uv, "sync", "--quiet", "--locked", "--no-dev", "--project", str(project)]
    _output(command, f"No environment for {project.name}")
    return project


def _bake(template: Path, output: Path, *answers: str) -> Path:
    shutil.rmtree(output, ignore_errors=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    config = CACHE / "cookiecutter.yaml"
    config.write_text(f"replay_dir: {json.dumps(str(CACHE / 'replay'))}\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "cookiecutter", str(template), "--no-input"),
        *("--config-file", str(config), "--output-dir", str(output), *answers),
    ]
    _output(command, "The template did not bake")
    return output / "price-service"


def _output(command: list[str], wrong: str) -> bytes:
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(command, capture_output=True, env=env, check=False)
    if done.returncode:
        message = f"{wrong}:\n{(done.stdout + done.stderr).decode(errors='replace')}"
        raise BenchError(message)
    return done.stdout
