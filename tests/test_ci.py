"""The CI files of a bake and of this repository: valid by their tools, with the right commands."""

import json
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from cookiecutter_flask_async_answers import IMAGE_PYTHON

from .baking import CHOICES, PYTHONS, ROOT, bake, contents, describe
from .checks import write
from .rendering import Renderer
from .uv import run

WITH_IMAGE = {"docker", "kubernetes", "all"}
VARIATIONS = [
    {"ci": ci, "deployment": deployment, "python_version": python}
    for ci, deployment, python in product(
        CHOICES["ci"], CHOICES["deployment"], (PYTHONS[0], PYTHONS[-1])
    )
]
CI_FILES = {
    "github": {
        ".github/ISSUE_TEMPLATE/bug.yml",
        ".github/dependabot.yml",
        ".github/pull_request_template.md",
        ".github/workflows/ci.yml",
    },
    "gitlab": {".gitlab-ci.yml", "renovate.json"},
    "none": set(),
}
SCHEMAS = {
    ".github/ISSUE_TEMPLATE/bug.yml": ["vendor.github-issue-forms"],
    ".github/ISSUE_TEMPLATE/idea.yml": ["vendor.github-issue-forms"],
    ".github/dependabot.yml": ["vendor.dependabot"],
    ".github/workflows/ci.yml": ["vendor.github-workflows"],
    ".gitlab-ci.yml": ["vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
    "renovate.json": ["vendor.renovate"],
}


@pytest.fixture(scope="session")
def check() -> Callable[[Path], None]:
    """Checks the CI files of a project with their tools, once for all bakes of the same files."""
    checked = set()

    def check(project: Path) -> None:
        found = {name: project / name for name in SCHEMAS}
        files = {name: path.read_bytes() for name, path in found.items() if path.exists()}
        if repr(files) in checked:
            return
        for name in files:
            schema, *options = SCHEMAS[name]
            run("check-jsonschema", "--builtin-schema", schema, *options, name, cwd=project)
        if ".github/workflows/ci.yml" in files:
            # No network: the actions are pinned by commit.
            run("zizmor", "--offline", "--persona=auditor", ".github", cwd=project)
            run("actionlint", ".github/workflows/ci.yml", cwd=project)
        checked.add(repr(files))

    return check


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            each,
            marks=[]
            if each["deployment"] in {"all", "none"} and each["python_version"] == PYTHONS[0]
            else pytest.mark.heavy,
            id=describe(each),
        )
        for each in VARIATIONS
    ],
)
def variation(request: pytest.FixtureRequest) -> dict[str, str]:
    """The answers that the CI files depend on."""
    answers: dict[str, str] = request.param
    return answers


@pytest.fixture(scope="module")
def baked(
    variation: dict[str, str], renderer: Renderer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A project with these answers."""
    folder = tmp_path_factory.mktemp("ci")
    write(folder, renderer.render(variation))
    return folder


def test_the_tools_find_no_fault(baked: Path, check: Callable[[Path], None]) -> None:
    check(baked)


def test_the_tools_find_no_fault_in_this_repository(check: Callable[[Path], None]) -> None:
    check(ROOT)


def test_a_bake_has_the_ci_files_of_its_host_only(baked: Path, variation: dict[str, str]) -> None:
    hidden = {
        name
        for name in contents(baked)
        if name in SCHEMAS or name.startswith((".github", ".gitlab"))
    }

    assert CI_FILES[variation["ci"]] == hidden
    assert (variation["ci"] == "github") == (baked / ".github").exists()


def test_every_supported_python_is_tested(baked: Path, variation: dict[str, str]) -> None:
    supported = PYTHONS[PYTHONS.index(variation["python_version"]) :]

    match variation["ci"]:
        case "github":
            assert supported == jobs(baked)["test"]["strategy"]["matrix"]["python"]
        case "gitlab":
            assert [{"PYTHON": supported}] == jobs(baked)["test"]["parallel"]["matrix"]


def test_ci_builds_and_scans_the_image_if_the_bake_has_one(
    baked: Path, variation: dict[str, str]
) -> None:
    built = "docker build" in json.dumps(jobs(baked))
    scanned = "anchore/" in json.dumps(jobs(baked))

    assert built == scanned == (variation["ci"] != "none" and variation["deployment"] in WITH_IMAGE)
    if variation["ci"] == "github":
        updates = yaml.safe_load((baked / ".github/dependabot.yml").read_text("utf-8"))["updates"]
        assert built == ("docker" in {update["package-ecosystem"] for update in updates})


def test_both_hosts_run_the_same_commands(tmp_path: Path) -> None:
    github = jobs(bake(tmp_path / "github", ci="github"))
    gitlab = jobs(bake(tmp_path / "gitlab", ci="gitlab"))

    zizmor = "uv run zizmor --offline .github"  # GitLab has no workflows
    assert zizmor in commands(github["lint"])
    assert [each for each in commands(github["lint"]) if each != zizmor] == commands(gitlab["lint"])
    for job in ("test", "test-lowest-versions"):
        assert commands(github[job]) == commands(gitlab[job])


def test_other_tests_run_the_commands_of_ci(project: Path) -> None:
    found = jobs(project)
    pytest = "uv run --no-sync pytest"
    lowest = ["uv sync --resolution lowest-direct", pytest, f"{pytest} tests/contract"]

    install, *lint = commands(found["lint"])
    assert "uv sync --locked" == install == commands(found["test"])[0]
    assert lint == of_make("lint", project)
    assert lint + commands(found["test"])[1:] == of_make("test", project)  # by test_readmes.py
    assert lowest == commands(found["test-lowest-versions"])  # by test_project.py


@pytest.mark.parametrize("ci", CHOICES["ci"])
def test_the_hooks_and_the_task_lint_run_the_same_commands(ci: str, tmp_path: Path) -> None:
    project = bake(tmp_path, ci=ci)
    found = yaml.safe_load((project / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    local = [hook for each in found["repos"] if each["repo"] == "local" for hook in each["hooks"]]

    assert [hook["entry"] for hook in local] == ["uv lock --check", *of_make("lint", project)]
    # A hook must check all files, whichever files a commit has.
    assert {(hook["language"], hook["pass_filenames"]) for hook in local} == {("system", False)}
    assert ("zizmor" in repr(local)) == (ci == "github")


def of_make(target: str, project: Path) -> list[str]:
    """The commands that `make` would run."""
    alone = {"MAKEFLAGS": "", "MAKELEVEL": "0"}  # as if no other `make` had started the tests
    printed = run("make", "--dry-run", target, cwd=project, env=alone)
    return printed.splitlines()


def jobs(project: Path) -> dict[str, Any]:
    """The jobs of a project's CI, by name; none without CI."""
    for name in (".github/workflows/ci.yml", ".gitlab-ci.yml"):
        if (project / name).exists():
            content: dict[str, Any] = yaml.safe_load((project / name).read_text(encoding="utf-8"))
            found: dict[str, Any] = content.get("jobs", content)
            return found
    return {}


def commands(job: dict[str, Any]) -> list[str]:
    """The commands of a job, without those of its host."""
    if "script" in job:
        return list(job["script"])
    return [step["run"] for step in job["steps"] if "run" in step]


def test_the_image_has_the_chosen_python_or_a_newer_one(
    baked: Path, variation: dict[str, str]
) -> None:
    dockerfile = baked / "Dockerfile"
    if not dockerfile.exists():
        return
    expected = max(variation["python_version"], IMAGE_PYTHON, key=PYTHONS.index)

    stages = re.findall(r"/python:(\S+)-slim", dockerfile.read_text(encoding="utf-8"))

    assert [expected, expected] == stages
