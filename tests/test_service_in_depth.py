"""A default bake passes the tests of odd inputs in `tests/service`; they are not in a bake."""

import shutil
from pathlib import Path

import pytest

from .baking import OLDEST, ROOT, bake
from .checks import knowing_types
from .uv import on_python, run

# They start many processes, which is slow.
PROCESSES = ("certificates", "metrics", "serve", "tracing", "unread_logs")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed default bake, with the tests of `tests/service` added."""
    project = bake(tmp_path_factory.mktemp("in-depth"))
    shutil.copytree(ROOT / "tests" / "service", project / "tests" / "service")
    run("uv", "sync", "--locked", cwd=project, env=on_python(OLDEST))
    return project


def uv_run(project: Path, *command: str | Path) -> None:
    """Runs a command in the project's environment."""
    run("uv", "run", "--no-sync", *command, cwd=project, env=on_python(OLDEST))


@pytest.mark.heavy
def test_the_service_handles_every_odd_input(project: Path) -> None:
    left_out = (f"--ignore=tests/service/test_{name}.py" for name in PROCESSES)

    uv_run(project, "pytest", "tests/service", *left_out)


@pytest.mark.heavy
def test_the_service_starts_and_stops_in_every_way(project: Path) -> None:
    uv_run(project, "pytest", *(f"tests/service/test_{name}.py" for name in PROCESSES))


@pytest.mark.heavy
def test_the_odd_inputs_tests_pass_the_services_linter_and_type_checker(project: Path) -> None:
    uv_run(project, "ruff", "check", "tests/service")
    uv_run(project, "ruff", "format", "--check", "tests/service")
    with knowing_types() as known:
        uv_run(project, "mypy", *known)
