"""Keeps the user's own configuration, services and environments out of the tests."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import Environment

from .baking import OLDEST, ROOT, bake, contents
from .properties import load_profile
from .releases import Release
from .releases import release as make_release
from .rendering import Renderer
from .uv import on_python, run

# Variables that would change the behaviour of the tests' commands.
REMOVED = ("PYENV_VERSION", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON", "VIRTUAL_ENV")

# The libraries are imported from the template's folder, where cached bytecode would be baked.
sys.pycache_prefix = os.environ.setdefault("PYTHONPYCACHEPREFIX", str(ROOT / ".cache" / "bytecode"))

# Git without anybody's settings.
GIT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"} | {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Your Name"), ("EMAIL", "you@example.com"))
}


load_profile()

# They run inside a bake: see `test_service_in_depth.py`.
collect_ignore = ["service"]

# The files that take longest, by their processor time, the longest first. If started last, a file
# would keep one worker busy while the others are idle.
LONG = (
    "test_suites.py",
    "test_service_in_depth.py",
    "test_bakes.py",
    "test_docs.py",
    "test_readmes.py",
    "test_project.py",
    "test_hostile_answers.py",
    "test_compatibility.py",
    "test_developers.py",
    "test_ci.py",
    "test_server.py",
    "test_refusals.py",
    "test_same_bytes.py",
    "test_circumstances.py",
    "test_dist.py",
    "test_stderr_writer.py",
    "test_env_example.py",
    "test_second_upstream.py",
    "test_deployment.py",
    "test_other_tools.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the files that take longest first."""
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.fixture(scope="session", autouse=True)
def _isolated_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Gives Cookiecutter a test configuration instead of the user's."""
    folder = tmp_path_factory.mktemp("user")
    config = folder / "config.yaml"
    folders = {name: str(folder / name) for name in ("cookiecutters_dir", "replay_dir")}
    config.write_text(json.dumps(folders), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name in (*REMOVED, *(each for each in os.environ if each.startswith("PRICES_"))):
            patch.delenv(name, raising=False)
        patch.setenv("COOKIECUTTER_CONFIG", str(config))
        patch.setenv("UV_PYTHON_DOWNLOADS", "never")
        for name, value in GIT.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session", autouse=True)
def _compile_each_template_once() -> Iterator[None]:
    """Caches Jinja's compiled templates: each bake makes an environment, and would compile again.

    An environment with a different syntax compiles separately.
    """
    compile_template = Environment.compile
    compiled: dict[object, object] = {}

    def compile_once(environment: Environment, source: object, *arguments: object) -> object:
        syntax = (type(environment), environment.trim_blocks, *sorted(environment.extensions))
        key = (syntax, source, *arguments)
        if key not in compiled:
            compiled[key] = compile_template(environment, source, *arguments)  # type: ignore[call-overload]
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Environment, "compile", compile_once)
        yield


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The project of a default bake, which no test changes: the next one would see it."""
    project = bake(tmp_path_factory.mktemp("default"))
    before = contents(project)
    yield project
    changed = {name for name, _ in before.items() ^ contents(project).items()}
    assert changed == set(), "a test of this worker changed the shared bake"


@pytest.fixture(scope="session")
def tools(project: Path) -> Path:
    """The folder of the programs that check a bake, in the versions that it locks.

    It is always the same folder, so that mypy can use its cache.
    """
    folder = ROOT / ".cache" / "tools"
    env = on_python(OLDEST) | {"UV_PROJECT_ENVIRONMENT": str(folder)}
    run("uv", "sync", "--locked", "--no-install-project", cwd=project, env=env)
    return folder / ("bin" if os.name == "posix" else "Scripts")


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A repository of the template with two releases, at the second."""
    return make_release(tmp_path_factory.mktemp("template") / "template")


@pytest.fixture(scope="session")
def renderer() -> Renderer:
    """Renders the template for many sets of answers, much faster than a bake."""
    return Renderer()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the coverage of the tests of many sets of options."""
    covered = [
        value
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "covered"
    ]
    if covered:
        terminalreporter.section("covered")
        for line in covered:
            terminalreporter.line(line)
