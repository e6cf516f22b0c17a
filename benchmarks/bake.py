"""Makes the measured trees: bakes of the template, and other commits of this repository."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from scripts import baking

from .serving import CACHE, PROJECT, ROOT, BenchError, Tree


def baked_service(revision: str = "") -> Path:
    """The folder of a fresh bake of the default service, with its own virtual environment.

    Args:
        revision: a commit of this repository; empty for the current files.

    Raises:
        BenchError: the commit is unknown, or the template does not bake.
    """
    if not revision:
        return synced(_bake(ROOT, CACHE / "service"))
    template = exported(revision)
    output = CACHE / template.name.replace("template", "service")
    project = output / baking.SLUG
    return project if (project / ".venv").is_dir() else synced(_bake(template, output))


def exported(revision: str) -> Path:
    """The folder with all files of a commit; made once, as a commit never changes.

    Raises:
        BenchError: when there is no such commit.
    """
    git = ("git", "-C", str(ROOT))
    # With ^{commit}, as Git accepts any 40 digits as an object's name.
    known = _output([*git, "rev-parse", "--short", f"{revision}^{{commit}}"], "No such commit")
    commit = known.decode().strip()
    folder = CACHE / f"template-{commit}"
    if not folder.is_dir():
        archive = io.BytesIO(_output([*git, "archive", commit], "No files"))
        unpacked = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(unpacked, ignore_errors=True)
        with tarfile.open(fileobj=archive) as files:
            files.extractall(unpacked, filter="data")
        unpacked.rename(folder)
    return folder


def tree_of(revision: str) -> Tree:
    """The benchmarks of another commit, with the engine and the client of that commit.

    A commit with the two libraries is measured from its sources. An older commit is baked first, as
    its engine and client are modules of the service, and contain markup.

    Raises:
        BenchError: the commit is unknown, or its template does not bake.
    """
    root = exported(revision)
    sources = root / PROJECT / "src"
    if not (sources / "flask_asgi").is_dir():
        sources = _bake(root, root.with_name(f"{root.name}-baked"), "include_example=no") / "src"
    return Tree(root, sources)


def observed_service() -> Path:
    """The folder of a fresh bake whose environment has the extra `otel`.

    Raises:
        BenchError: the template does not bake.
    """
    return synced(_bake(ROOT, CACHE / "observed"), "--extra", "otel")


def templated_service() -> Path:
    """The folder of a service of `fastapi-template`; its environment is in `.venv`.

    It has the generator's options that need no other server: metrics and its own logs.

    Raises:
        BenchError: when it cannot be made.
    """
    output = CACHE / "fastapi-template"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    locked = ROOT / "benchmarks" / "fastapi_template"
    env = {"UV_PROJECT_ENVIRONMENT": str(output / ".venv")}
    uv = os.environ.get("UV", "uv")
    command = [uv, "sync", "--quiet", "--locked", "--project", str(locked)]
    _output(command, "No environment for fastapi-template", env)
    # The generator needs uv, and makes its project in the working directory.
    env = {"PATH": f"{Path(uv).parent}{os.pathsep}{os.environ['PATH']}"}
    generator = [str(output / ".venv/bin/fastapi_template"), "--name", "bench_template", "--quiet"]
    options = {"api-type": "rest", "db": "none", "orm": "none", "ci": "none"}
    command = [
        *generator,
        *(part for name, value in options.items() for part in (f"--{name}", value)),
        *("--routers", "--prometheus", "--loguru"),
    ]
    _output(command, "fastapi-template made no service", env, cwd=output)
    return output


def synced(project: Path, *options: str) -> Path:
    """A baked project; creates its environment from `uv.lock`.

    Args:
        project: its folder.
        options: further options of `uv sync`.

    Raises:
        BenchError: when it cannot be made.
    """
    if not (project / "uv.lock").is_file():
        message = f"{project} is not a baked project: it has no uv.lock."
        raise BenchError(message)
    # The benchmarks run under uv, which sets the variable UV.
    uv = [os.environ.get("UV", "uv"), "sync", "--quiet", "--locked", "--no-dev"]
    # This machine may lack the Python of `.python-version`.
    command = [*uv, "--python", sys.executable, *options, "--project", str(project)]
    _output(command, f"No environment for {project.name}")
    return project


def _bake(template: Path, output: Path, *answers: str) -> Path:
    shutil.rmtree(output, ignore_errors=True)
    _output(baking.command(output, *answers, template=template), "The template did not bake")
    return output / baking.SLUG


def _output(
    command: list[str], wrong: str, variables: dict[str, str] | None = None, cwd: Path | None = None
) -> bytes:
    # PYTHONPATH may hold another checkout, VIRTUAL_ENV another environment.
    kept_out = {"PYTHONPATH", "VIRTUAL_ENV"}
    env = {name: value for name, value in os.environ.items() if name not in kept_out}
    env |= variables or {}
    done = subprocess.run(
        command, capture_output=True, env=env, cwd=cwd, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        message = f"{wrong}:\n{(done.stdout + done.stderr).decode(errors='replace')}"
        raise BenchError(message)
    return done.stdout
