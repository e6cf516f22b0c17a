"""A bad answer ends the bake with one sentence, and nothing has been written."""

import subprocess
import sys
from pathlib import Path

import pytest

from .baking import ROOT, contents


def cookiecutter(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A bake on the command line, as a user or a CI system runs it."""
    return subprocess.run(
        [sys.executable, "-m", "cookiecutter", ROOT, "--no-input", "-o", folder, *arguments],
        cwd=folder,
        text=True,
        encoding="utf-8",
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    "answer",
    [
        "project_name=",
        "project_name=!!!",
        "project_slug=../../outside/of/it",
        "project_slug=/absolute/path",
        "project_slug=json",
        "package_name=class",
        "package_name=../escape",
        "full_name=line\nbreak",
        "email=nobody",
        "github_username=../x",
    ],
)
@pytest.mark.parametrize("hooks", ["yes", "no"])
def test_a_refused_bake_says_one_sentence_and_leaves_the_disk_alone(
    answer: str, hooks: str, tmp_path: Path
) -> None:
    output = tmp_path / "one" / "two" / "three"
    output.mkdir(parents=True)

    refused = cookiecutter(output, "--accept-hooks", hooks, answer)

    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.count("\n") == 1
    assert refused.stderr.startswith("Error: ")
    assert "; accepted is " in refused.stderr
    assert [output] == [path for path in tmp_path.rglob("*") if not any(path.iterdir())]


@pytest.mark.parametrize("answer", ["project_slug=json", 'package_name=x"; print("executed'])
def test_a_bake_that_skips_the_check_is_refused_by_the_hook(answer: str, tmp_path: Path) -> None:
    refused = cookiecutter(tmp_path, "__names=skipped", "__answers=skipped", answer)

    assert refused.returncode != 0
    assert refused.stderr.startswith("Error: ")
    assert "executed" not in refused.stdout
    assert contents(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []
