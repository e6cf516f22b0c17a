"""A bake and this repository follow the same tasks, hooks and common practice."""

import re
import tomllib
from collections.abc import Collection
from pathlib import Path

import pytest
import yaml

from .baking import CHOICES, OLDEST, ROOT, bake
from .releases import commit, fails, git
from .uv import on_python, run


def targets(folder: Path) -> set[str]:
    """The targets of a folder's Makefile."""
    makefile = (folder / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))


def test_the_tasks_have_the_same_names_here_and_in_a_bake(project: Path) -> None:
    assert targets(project) - {"run"} == {"format", "hooks", "lint", "lock", "test"}
    assert targets(project) - targets(ROOT) == {"run"}  # here it is `make demo`


@pytest.mark.parametrize("place", ["here", "in a bake"])
def test_every_task_runs_even_if_a_file_has_its_name(place: str, project: Path) -> None:
    folder = ROOT if place == "here" else project
    phony = re.search(r"^\.PHONY: (.*)$", (folder / "Makefile").read_text("utf-8"), re.MULTILINE)

    assert phony
    assert targets(folder) == set(phony[1].split())


def test_every_task_of_a_bake_is_in_its_readme(project: Path) -> None:
    readme = (project / "README.md").read_text(encoding="utf-8")

    assert targets(project) == set(re.findall(r"`make (\w+)`", readme))


def findings(folder: Path, answered: Collection[str] = ()) -> list[str]:
    """The findings of sp-repo-review, except those in its settings or in `answered`."""
    from repo_review.processor import process  # noqa: PLC0415 - takes a while to import

    _, results = process(folder, ignore=set(answered))
    assert len(results) > 40, "the plug-in with the checks is missing"
    return [f"{each.name} {each.description}" for each in results if each.result is False]


@pytest.fixture(params=[*CHOICES["ci"], "this repository"])
def reviewed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A bake for each host of CI, and this repository."""
    return ROOT if request.param == "this repository" else bake(tmp_path, ci=request.param)


def test_a_review_finds_no_fault(reviewed: Path) -> None:
    assert findings(reviewed) == []


def test_every_answer_to_a_review_is_needed_and_has_a_reason(reviewed: Path) -> None:
    settings = tomllib.loads((reviewed / "pyproject.toml").read_text(encoding="utf-8"))
    answers: dict[str, str] = settings["tool"]["repo-review"]["ignore"]

    assert answers
    for name, reason in answers.items():
        assert any(found.startswith(name) for found in findings(reviewed, answers.keys() - {name}))
        assert len(reason.split()) >= 5, name


# A fault for each hook: a file with its text.
FAULTS = {
    "check-case-conflict": {"Notes.md": "One.\n", "notes.md": "Two.\n"},
    "check-json": {"broken.json": "{,}\n"},
    "check-merge-conflict": {"merge.md": "<<<<<<< HEAD\nours\n=======\ntheirs\n>>>>>>> them\n"},
    "check-toml": {"broken.toml": "a = \n"},
    "check-yaml": {"broken.yaml": "a: [\n"},
    "detect-private-key": {"key.pem": "-----BEGIN RSA PRIVATE" + " KEY-----\n"},
    "end-of-file-fixer": {"end.md": "No newline"},
    "trailing-whitespace": {"space.py": '"""Spaces."""  \n'},
    "lock": {"pyproject.toml": "\n[dependency-groups.extra]\n"},
    "ruff-check": {"src/price_service/unused.py": '"""Unused."""\n\nimport os\n'},
    "ruff-format": {"src/price_service/quotes.py": '"""Quotes."""\n\nNAME = \'x\'\n'},
    "mypy": {"src/price_service/typed.py": '"""Types."""\n\nNUMBER: int = "x"\n'},
    "zizmor": {
        ".github/workflows/other.yml": "on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n"
        "    steps:\n      - run: echo ${{ github.event.head_commit.message }}\n"
    },
}


@pytest.fixture(scope="module")
def hooked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A default bake in a Git repository, with its hooks."""
    project = bake(tmp_path_factory.mktemp("hooked"))
    git(project, "init", "--quiet")
    run("make", "hooks", cwd=project, env=on_python(OLDEST))
    git(project, "add", "--all")
    return project


def hooks(folder: Path) -> set[str]:
    """The names of the hooks of a project."""
    found = yaml.safe_load((folder / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    return {hook["id"] for each in found["repos"] for hook in each["hooks"]}


@pytest.mark.heavy
def test_a_fresh_bake_passes_its_hooks(hooked: Path) -> None:
    commit(hooked, "feat: start from the template")

    run("uv", "run", "prek", "run", "--all-files", cwd=hooked, env=on_python(OLDEST))


@pytest.mark.heavy
@pytest.mark.parametrize("hook", FAULTS)
def test_a_hook_stops_the_commit_of_a_fault(hook: str, hooked: Path) -> None:
    for name, text in FAULTS[hook].items():
        path = hooked / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(text)
        git(hooked, "add", name)
    try:
        printed = fails("git", "commit", "--quiet", "--message", "feat: a fault", cwd=hooked)
    finally:
        git(hooked, "reset", "--quiet", "--hard")

    assert f"hook id: {hook}\n" in printed


def test_every_hook_has_a_fault_in_the_table(project: Path) -> None:
    assert FAULTS.keys() == hooks(project)


@pytest.mark.heavy
def test_this_repository_passes_its_hooks() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("an archive has no files that Git tracks")

    run("prek", "run", "--all-files", cwd=ROOT)
