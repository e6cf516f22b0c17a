"""The repository's own promises that no other test would notice being broken."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from scripts import demo, lock

from .baking import QUESTIONS, ROOT

WORKFLOWS = [
    *ROOT.glob(".github/workflows/*.yml"),
    *ROOT.glob("{{*/.github/workflows/*.yml"),
    ROOT / "docs/update-template.yml",
]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_with_the_version_beside(workflow: Path) -> None:
    uses = re.findall(r"uses: (.*)", workflow.read_text(encoding="utf-8"))

    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_the_index_of_decisions_lists_every_page_once() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\d+\. \[.+\]\((.+)\)$", index, re.MULTILINE)

    assert sorted(listed) == sorted({path.name for path in folder.glob("*.md")} - {"README.md"})


def test_every_question_and_every_choice_has_a_wording() -> None:
    prompts = QUESTIONS["__prompts__"]

    for name, default in QUESTIONS.items():
        if isinstance(default, list) and not name.startswith("_"):
            assert {"__prompt__", *default} == set(prompts[name])
        elif not name.startswith("_"):
            assert prompts[name]


def test_answers_need_the_standard_library_and_jinja_only() -> None:
    for path in [ROOT / "cookiecutter_flask_async_answers.py", *ROOT.glob("hooks/*.py")]:
        imported = re.findall(r"^(?:from|import) (\w+)", path.read_text("utf-8"), re.MULTILINE)
        assert set(imported) <= sys.stdlib_module_names | {"jinja2"}, path


def test_a_template_imports_its_own_extension_beside_another_version(tmp_path: Path) -> None:
    script = """
import sys
from cookiecutter.main import cookiecutter

for template in sys.argv[1:3]:
    cookiecutter(template, no_input=True, output_dir=sys.argv[3], overwrite_if_exists=True)
"""
    (tmp_path / "other" / "{{cookiecutter.name}}").mkdir(parents=True)
    (tmp_path / "other" / "{{cookiecutter.name}}" / "file").write_text("{{ 1 | other }}")
    (tmp_path / "other" / "cookiecutter.json").write_text(
        '{"name": "other-project", "_extensions": ["cookiecutter_flask_async_answers.Answers"]}'
    )
    (tmp_path / "other" / "cookiecutter_flask_async_answers.py").write_text(
        "from jinja2.ext import Extension\n\n\n"
        "class Answers(Extension):\n"
        "    def __init__(self, environment):\n"
        "        environment.filters['other'] = str\n"
    )
    arguments = [str(ROOT), str(tmp_path / "other"), str(tmp_path / "out")]

    subprocess.run([sys.executable, "-c", script, *arguments], check=True, cwd=tmp_path)

    assert (tmp_path / "out" / "other-project" / "file").read_text() == "1"


def test_the_lock_tool_puts_the_answers_back_as_markup() -> None:
    locked = 'requires-python = ">=3.11"\nname = "flask"\nname = "price-service"\n'

    assert lock.with_markup(locked) == (
        'requires-python = ">={{ cookiecutter.python_version }}"\n'
        'name = "flask"\n'
        'name = "{{ cookiecutter.project_slug }}"\n'
    )


def test_the_lock_tool_refuses_a_lock_file_that_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="price-service"):
        lock.with_markup('requires-python = ">=3.11"\n')


@pytest.mark.parametrize("width", [80, 120])
def test_the_waterfall_fits_the_terminal(width: int) -> None:
    console = Console(width=width, record=True, force_terminal=False)
    waits = [demo.Wait(f"client {number}", number / 3, 60 + number) for number in range(1, 21)]

    with console.capture() as captured:
        console.print(demo.waterfall(waits, console.width))

    lines = captured.get().splitlines()
    assert len(waits) == len(lines)
    assert max(map(len, lines)) <= width
    assert all("█" in line for line in lines)


def test_the_waterfall_shows_each_wait_where_it_was() -> None:
    waits = [demo.Wait("A", 0, 50), demo.Wait("B", 0, 50)]
    console = Console(width=40, force_terminal=False)

    with console.capture() as captured:
        console.print(demo.waterfall(waits, console.width))

    first, second = captured.get().splitlines()
    bar = "█" * 14
    assert first.startswith(f"  A {bar} ")
    assert second.startswith(f"  B {bar}░░░░")
