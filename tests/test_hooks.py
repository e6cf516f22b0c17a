"""The hooks: the files that they remove, the files that they keep, and their messages."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

import cookiecutter_flask_async_answers as answers

from .baking import CHOICES, ROOT, bake, contents


def hook(name: str) -> ModuleType:
    """A hook as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "hooks" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pre_gen_project = hook("pre_gen_project")
post_gen_project = hook("post_gen_project")


def test_files_that_the_answers_leave_out_are_removed(tmp_path: Path) -> None:
    left_out = ("src/templates/home.html", "deploy/site/base/a.yaml", "deploy/site/b.yaml")
    for name in (*left_out, "src/app.py"):
        write(tmp_path / name, "the template's")

    kept = post_gen_project.remove(tmp_path, f"{' '.join(left_out)} src/missing.py other/missing")

    assert kept == []
    assert [tmp_path / "src", tmp_path / "src/app.py"] == sorted(tmp_path.rglob("*"))


def test_folders_that_would_be_left_empty_are_removed(tmp_path: Path) -> None:
    write(tmp_path / ".github/workflows/ci.yml", "the template's")
    write(tmp_path / "src/app.py", "the template's")

    post_gen_project.remove(tmp_path, ".github/workflows/ci.yml")

    assert [tmp_path / "src"] == list(tmp_path.iterdir())


def test_a_teams_file_at_a_removed_path_is_restored(tmp_path: Path) -> None:
    write(tmp_path / "home.py", "a team's")

    pre_gen_project.set_aside(tmp_path, "home.py stub.py")
    write(tmp_path / "home.py", "the template's")
    kept = post_gen_project.remove(tmp_path, "home.py stub.py")

    assert kept == [tmp_path / "home.py"]
    assert contents(tmp_path) == {"home.py": b"a team's"}


def test_an_earlier_bakes_file_at_a_removed_path_is_removed(tmp_path: Path) -> None:
    write(tmp_path / "home.py", "the template's")

    pre_gen_project.set_aside(tmp_path, "home.py")
    write(tmp_path / "home.py", "the template's")

    assert post_gen_project.remove(tmp_path, "home.py") == []
    assert contents(tmp_path) == {}


def test_a_bake_over_a_project_keeps_a_teams_files(tmp_path: Path) -> None:
    project = bake(tmp_path, include_example=False)
    plain = contents(project)
    added = {
        "src/price_service/templates/report.html": "a team's page",
        "src/price_service/views/home.py": "a team's view",
        "tests/test_ours.py": "a team's test",
    }
    for name, text in added.items():
        write(project / name, text)

    bake(tmp_path, include_example=False)

    assert contents(project) == plain | {name: text.encode() for name, text in added.items()}


def test_a_bake_over_the_example_removes_it(tmp_path: Path) -> None:
    project = bake(tmp_path / "with", include_example=True)
    plain = bake(tmp_path / "without", include_example=False)

    bake(tmp_path / "with", include_example=False)

    assert contents(project) == contents(plain)


def test_a_bake_prints_the_next_commands(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bake(tmp_path, project_name="Café Prices")

    assert "\n  cd cafe-prices\n  uv run cafe-prices " in capfd.readouterr().out


def test_every_optional_file_is_in_the_template() -> None:
    template = ROOT / "{{cookiecutter.project_slug}}"
    brought = [
        path.format(slug="{{cookiecutter.project_slug}}", package="{{cookiecutter.package_name}}")
        for paths in answers.BROUGHT_BY.values()
        for path in paths
    ]

    assert [path for path in brought if not (template / path).is_file()] == []


def test_every_answer_with_optional_files_is_a_choice() -> None:
    for name, values in answers.BROUGHT_BY:
        assert set(values) < set(CHOICES[name])


def write(path: Path, text: str) -> None:
    """Writes a file and the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
