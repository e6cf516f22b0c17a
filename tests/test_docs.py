"""The tutorial and the how-to pages work: their code is written and their commands are run.

`make test` writes the code of all how-to pages and runs the tests in it. The heavy tests do so for
the tutorial, and follow each page step by step, as a reader does, with the commands that fail and
the servers. `pages.py` defines the form of a page.
"""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from .baking import OLDEST, ROOT, bake
from .checks import knowing_types
from .pages import Commands, Edit, catch_up, follow, steps
from .serving import free_port
from .uv import on_python, run

TUTORIAL = sorted((ROOT / "docs" / "tutorial").glob("[0-9]*.md"))
HOW_TO = sorted(set((ROOT / "docs" / "how-to").glob("*.md")) - {ROOT / "docs/how-to/README.md"})

# Their code needs packages that a service does not lock, or removes a part of the service.
ALONE = {"an-existing-application", "choose-quart", "database", "delete-the-example"}


def name(path: Path) -> str:
    """The name of a page's test."""
    return path.stem


@pytest.fixture
def service(project: Path, tmp_path: Path) -> Path:
    """A default service that a page may change."""
    return Path(shutil.copytree(project, tmp_path / project.name))


def write_pages(pages: Iterable[Path], service: Path) -> list[str]:
    """Writes and changes the files of these pages; returns the test files among them."""
    edits = [step for page in pages for step in steps(page.read_text("utf-8"))]
    for edit in edits:
        if isinstance(edit, Edit):
            edit.apply(service)
    return sorted({each.path for each in edits if isinstance(each, Edit) and "/test_" in each.path})


def run_with(tools: Path, service: Path, *command: str) -> None:
    """Runs a command in the environment that bakes share, without an installed project."""
    program, *arguments = command
    run(tools / program, *arguments, cwd=service, env={"PYTHONPATH": "src"})


@pytest.mark.heavy
def test_the_tutorial_ends_with_the_example(project: Path, tools: Path, tmp_path: Path) -> None:
    service = bake(tmp_path, include_example=False)
    tests = write_pages(TUTORIAL, service)

    for same in ("prices", "quotes"):
        view = f"src/price_service/views/{same}.py"
        assert (service / view).read_bytes() == (project / view).read_bytes()
        shutil.copy(project / f"tests/test_{same}.py", service / "tests")
        tests.append(f"tests/test_{same}.py")
    run_with(tools, service, "ruff", "check")
    run_with(tools, service, "ruff", "format", "--check")
    run_with(tools, service, "pytest", *tests)


def test_the_code_of_the_how_to_pages_works(service: Path, tools: Path) -> None:
    tests = write_pages([page for page in HOW_TO if page.stem not in ALONE], service)

    # Each page sorts its imports without those of the other pages.
    run_with(tools, service, "ruff", "check", "--ignore", "I001")
    run_with(tools, service, "ruff", "format", "--check")
    run_with(tools, service, "pytest", *tests)


@pytest.mark.parametrize("page", [*TUTORIAL, *HOW_TO], ids=name)
def test_a_page_shows_tests_and_runs_every_one(page: Path) -> None:
    taken = list(steps(page.read_text(encoding="utf-8")))
    commands = " ".join(
        command for step in taken if isinstance(step, Commands) for command in step.commands
    )

    assert "pytest" in commands
    for step in taken:
        if isinstance(step, Edit) and "/test_" in step.path:
            assert step.path in commands


# Heavy: every page, step by step


@pytest.fixture(scope="module")
def env() -> dict[str, str]:
    """The environment of the commands: a port that is free, and the oldest Python."""
    return on_python(OLDEST) | {"PORT": str(free_port())}


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory, env: dict[str, str]) -> Callable[[Path], Path]:
    """Returns the service of the tutorial before a page."""
    service = bake(tmp_path_factory.mktemp("tutorial"), include_example=False)
    to_come = list(TUTORIAL)

    def at(page: Path) -> Path:
        while to_come[0] != page:
            catch_up(to_come.pop(0), service, env)
        to_come.remove(page)
        return service

    return at


@pytest.mark.heavy
@pytest.mark.parametrize("page", TUTORIAL, ids=name)
def test_a_page_of_the_tutorial_can_be_followed(
    page: Path, lesson: Callable[[Path], Path], env: dict[str, str]
) -> None:
    follow(page, lesson(page), env)


@pytest.mark.heavy
@pytest.mark.parametrize("page", HOW_TO, ids=name)
def test_a_how_to_page_can_be_followed(page: Path, service: Path, env: dict[str, str]) -> None:
    follow(page, service, env)

    run("uv", "run", "ruff", "check", "--extend-exclude", "*quart*", cwd=service, env=env)
    run("uv", "run", "ruff", "format", "--check", cwd=service, env=env)
    with knowing_types() as known:
        run("uv", "run", "mypy", *known, "--exclude", "quart", cwd=service, env=env)


@pytest.mark.heavy
def test_deleting_the_example_leaves_no_trace(
    service: Path, tmp_path: Path, env: dict[str, str]
) -> None:
    page = ROOT / "docs/how-to/delete-the-example.md"
    without = bake(tmp_path / "without", include_example=False)

    follow(page, service, env)

    assert code(service) == code(without)


def code(service: Path) -> dict[str, bytes]:
    """The files of a service, without its documents and the tools' caches."""
    return {
        path.relative_to(service).as_posix(): path.read_bytes()
        for path in service.rglob("*")
        if path.is_file() and path.suffix != ".md" and ".venv" not in path.parts
        if not {"__pycache__", ".pytest_cache", ".ruff_cache"} & {*path.parts}
    }
