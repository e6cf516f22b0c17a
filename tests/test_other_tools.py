"""An old or a wrong tool is refused with one sentence that names the remedy."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cookiecutter_flask_async_answers as answers

from .baking import ROOT, contents, on_command_line
from .releases import working_tree
from .uv import interpreter, run


def bake_with(
    *program: str | Path, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A bake with another Cookiecutter, run in the folder of its output."""
    return on_command_line(
        ROOT, "--no-input", "--output-dir", cwd, cwd=cwd, env=env, program=program
    )


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Checks that a bake ended with one sentence."""
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


@pytest.mark.heavy
def test_python_3_10_gets_a_message_with_the_required_version(tmp_path: Path) -> None:
    if not (python := interpreter("3.10")):
        pytest.skip("this machine has no Python 3.10")
    run("uv", "venv", "--quiet", "--python", python, "old", cwd=tmp_path)
    run("uv", "pip", "install", "--quiet", "--python", "old", "cookiecutter", cwd=tmp_path)

    done = bake_with(tmp_path / "old/bin/cookiecutter", cwd=tmp_path)

    assert_refused(done, "Python 3.11 or newer", "this is Python 3.10", "uvx --python 3.11")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_python_without_tomllib_gets_a_message_with_the_required_version(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['tomllib'] = None")

    done = bake_with(
        *(sys.executable, "-m", "cookiecutter"), cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}
    )

    assert_refused(done, "Python 3.11 or newer")


@pytest.mark.heavy
@pytest.mark.parametrize("version", ["2.1.1", "2.5.0"])
def test_an_old_cookiecutter_gets_a_message_with_the_required_version(
    version: str, tmp_path: Path
) -> None:
    run("uv", "venv", "--quiet", "--python", sys.executable, "old", cwd=tmp_path)
    # 2.1 imports pkg_resources, which newer versions of setuptools lack.
    packages = (f"cookiecutter=={version}", "setuptools<80")
    run("uv", "pip", "install", "--quiet", "--python", "old", *packages, cwd=tmp_path)

    done = bake_with(tmp_path / "old/bin/cookiecutter", cwd=tmp_path)

    assert_refused(done, "Cookiecutter 2.6 or newer", f"this is {version}")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize(
    "version", ["1.7.3", "2.1.1", "2.5.0", "2.6.0", "2.10.1", "3.0", "", "dev"]
)
def test_the_oldest_cookiecutter_is_accepted_and_an_older_one_refused(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cookiecutter.__version__", version)

    if version in {"1.7.3", "2.1.1", "2.5.0"}:
        with pytest.raises(SystemExit, match=f"this is {version};"):
            answers.refuse_an_old_cookiecutter()
    else:
        answers.refuse_an_old_cookiecutter()


@pytest.mark.parametrize(
    "way", ["PYTHONPATH", pytest.param("working directory", marks=pytest.mark.heavy)]
)
def test_modules_in_the_users_path_are_not_imported(
    way: str, project: Path, tmp_path: Path
) -> None:
    for name in ("answers", "hooks", "tests", "template", "extensions"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not the template')")
    env = {"PYTHONPATH": str(tmp_path)} if way == "PYTHONPATH" else {}

    done = bake_with(sys.executable, "-m", "cookiecutter", cwd=tmp_path, env=env)

    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "price-service") == contents(project)


@pytest.mark.parametrize("way", ["working directory", "PYTHONPATH"])
def test_another_copy_of_the_template_is_refused(way: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    working_tree(copy)
    env = {"PYTHONPATH": str(copy)} if way == "PYTHONPATH" else {}
    output = copy if way == "working directory" else tmp_path
    before = set(output.rglob("*.toml"))

    done = bake_with(sys.executable, "-m", "cookiecutter", cwd=output, env=env)

    assert_refused(done, str(copy), "another folder")
    assert set(output.rglob("*.toml")) == before


@pytest.mark.heavy
def test_the_template_bakes_from_within_its_own_folder(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    working_tree(copy)

    for template in (".", copy):
        shutil.rmtree(tmp_path / "price-service", ignore_errors=True)
        command = (sys.executable, "-m", "cookiecutter", template, "--no-input", "-o", tmp_path)
        run(*map(str, command), cwd=copy)
        assert contents(tmp_path / "price-service") == contents(project)
