"""A bake works on machines with no home, no Git, no network, or odd paths."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from .baking import ROOT, contents, on_command_line
from .releases import append, working_tree

NO_NETWORK = """
import socket

def refuse(*_: object) -> None:
    raise AssertionError("a bake wanted the network")

socket.socket.connect = socket.getaddrinfo = refuse
"""


def cookiecutter(
    folder: Path, *arguments: str | Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A bake into the folder, run in that folder."""
    return on_command_line(*arguments, "-o", folder, cwd=folder, env=env)


@pytest.mark.heavy
def test_a_template_and_an_output_with_spaces_and_unicode_in_their_paths(
    project: Path, tmp_path: Path
) -> None:
    template = tmp_path / "my templates" / "Vorlage für Dienste 🍏"
    output = tmp_path / "my services" / "Größe 50 %"
    template.mkdir(parents=True)
    output.mkdir(parents=True)
    working_tree(template)

    done = cookiecutter(output, template, "--no-input")

    assert done.returncode == 0, done.stderr
    assert contents(project) == contents(output / "price-service")


def test_neither_git_nor_a_network_is_needed(project: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK, encoding="utf-8")
    (tmp_path / "out").mkdir()
    env = {"PATH": str(tmp_path), "PYTHONPATH": str(tmp_path)}

    done = cookiecutter(tmp_path / "out", ROOT, "--no-input", env=env)

    assert done.returncode == 0, done.stderr
    assert contents(project) == contents(tmp_path / "out" / "price-service")


@pytest.mark.heavy
def test_a_read_only_home_needs_another_folder_for_the_replay(
    project: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "config.yaml"
    elsewhere.write_text(json.dumps({"replay_dir": str(tmp_path / "replay")}), encoding="utf-8")
    (tmp_path / "out").mkdir()
    home = tmp_path / "home"
    home.write_text("a file, in which nobody can make a folder", encoding="utf-8")
    env = {"HOME": str(home), "USERPROFILE": str(home)}

    without = cookiecutter(tmp_path / "out", ROOT, "--no-input", "--default-config", env=env)
    assert without.returncode != 0
    assert list((tmp_path / "out").iterdir()) == []

    done = cookiecutter(
        tmp_path / "out", ROOT, "--no-input", env={**env, "COOKIECUTTER_CONFIG": str(elsewhere)}
    )

    assert done.returncode == 0, done.stderr
    assert contents(project) == contents(tmp_path / "out" / "price-service")


@pytest.mark.heavy
def test_a_replay_makes_the_same_service_again(tmp_path: Path) -> None:
    answers = ('project_name=Ann\'s {{ 1 }} "Prices"', "project_slug=prices", "license=Apache-2.0")
    first = cookiecutter(tmp_path, ROOT, "--no-input", *answers)
    assert first.returncode == 0, first.stderr
    shutil.move(tmp_path / "prices", tmp_path / "first")

    again = cookiecutter(tmp_path, ROOT, "--replay")

    assert again.returncode == 0, again.stderr
    assert contents(tmp_path / "first") == contents(tmp_path / "prices")


def test_a_second_bake_at_the_same_place_is_refused(project: Path) -> None:
    before = contents(project)

    refused = cookiecutter(project.parent, ROOT, "--no-input")

    assert refused.returncode == 1
    assert "already exists" in refused.stdout
    assert contents(project) == before


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("flags", "edit_stays"),
    [
        (("--overwrite-if-exists",), False),
        (("--overwrite-if-exists", "--skip-if-file-exists"), True),
    ],
)
def test_a_bake_over_an_edited_service(
    flags: tuple[str, ...], *, edit_stays: bool, tmp_path: Path
) -> None:
    without_example = (ROOT, "--no-input", "include_example=no")
    assert cookiecutter(tmp_path, *without_example).returncode == 0
    service = tmp_path / "price-service"
    plain = contents(service)
    append(service / "README.md", "Ours.\n")
    (service / "src/price_service/views/home.py").write_text("OURS = True\n", encoding="utf-8")
    (service / "NOTES.md").write_text("Ours.\n", encoding="utf-8")
    (service / ".gitignore").unlink()
    edited = contents(service)

    done = cookiecutter(tmp_path, *without_example, *flags)

    assert done.returncode == 0, done.stderr
    readme = edited["README.md"] if edit_stays else plain["README.md"]
    assert {**plain, **edited, "README.md": readme} == contents(service)
