"""The repository keeps promises that no other test checks."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from scripts import baking, demo, lock

from .baking import QUESTIONS, ROOT

WORKFLOWS = [
    *ROOT.glob(".github/workflows/*.yml"),
    *ROOT.glob("{{*/.github/workflows/*.yml"),
    ROOT / "docs/update-template.yml",
]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_with_the_version_in_a_comment(workflow: Path) -> None:
    uses = re.findall(r"uses: (.*)", workflow.read_text(encoding="utf-8"))

    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_every_question_and_every_choice_has_a_prompt() -> None:
    prompts = QUESTIONS["__prompts__"]

    for name, default in QUESTIONS.items():
        if isinstance(default, list) and not name.startswith("_"):
            assert {"__prompt__", *default} == set(prompts[name])
        elif not name.startswith("_"):
            assert prompts[name]


def test_a_prompt_begins_with_the_name_of_its_question() -> None:
    for name, prompt in QUESTIONS["__prompts__"].items():
        asked = prompt["__prompt__"] if isinstance(prompt, dict) else prompt
        assert asked.startswith(f"{name}: ")
        assert len(asked.removeprefix(name).split()) <= 10, asked


def test_the_last_question_is_a_choice() -> None:
    """Cookiecutter renders a choice, so it checks the texts before it saves a replay."""
    asked = [name for name in QUESTIONS if not name.startswith("_")]

    assert not isinstance(QUESTIONS[asked[-1]], str)
    assert asked.index("ci") < asked.index("github_username")  # the account depends on the host


def test_answers_need_the_standard_library_and_jinja_only() -> None:
    for path in [ROOT / "cookiecutter_flask_async_answers.py", *ROOT.glob("hooks/*.py")]:
        imported = re.findall(r"^(?:from|import) (\w+)", path.read_text("utf-8"), re.MULTILINE)
        assert set(imported) <= sys.stdlib_module_names | {"jinja2"}, path


def test_two_templates_in_one_process_import_their_own_extensions(tmp_path: Path) -> None:
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


def test_one_module_calls_cookiecutter() -> None:
    sources = (
        path for name in ("benchmarks", "scripts", "tests") for path in (ROOT / name).rglob("*.py")
    )
    calls = [
        path.relative_to(ROOT).as_posix()
        for path in sources
        for statement in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.ImportFrom) and statement.module == "cookiecutter.main"
        if "cookiecutter" in {alias.name for alias in statement.names}
    ]

    assert calls == ["scripts/baking.py"]


@pytest.mark.parametrize("way", ["in this process", "on the command line"])
def test_a_bake_ignores_the_users_configuration(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"default_context": {"project_slug": "theirs"}, "replay_dir": str(tmp_path / "replay")}
    (tmp_path / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    monkeypatch.setenv("COOKIECUTTER_CONFIG", str(tmp_path / "config.yaml"))

    if way == "in this process":
        baking.bake(tmp_path / "out")
    else:
        subprocess.run(baking.command(tmp_path / "out"), check=True, cwd=ROOT)

    assert [path.name for path in (tmp_path / "out").iterdir()] == [baking.SLUG]
    assert not (tmp_path / "replay").exists()


def test_the_lock_tool_replaces_the_answers_by_markup() -> None:
    entry = '\n[[package]]\nname = "zizmor"\nversion = "1"\n'
    locked = (
        'requires-python = ">=3.11"\nname = "flask"\nname = "price-service"\n'
        f'    {{ name = "zizmor" }},\n]\n    {{ name = "zizmor", specifier = ">=1" }},\n]\n{entry}'
    )

    assert lock.with_markup(locked) == (
        'requires-python = ">={{ cookiecutter.python_version }}"\n'
        'name = "flask"\n'
        'name = "{{ cookiecutter.project_slug }}"\n'
        '# jinja: if cookiecutter.ci == "github"\n'
        '    { name = "zizmor" },\n'
        "# jinja: endif\n"
        "]\n"
        '# jinja: if cookiecutter.ci == "github"\n'
        '    { name = "zizmor", specifier = ">=1" },\n'
        "# jinja: endif\n"
        "]\n"
        f'# jinja: if cookiecutter.ci == "github"\n{{{{ "" }}}}{entry}# jinja: endif\n'
    )


@pytest.mark.parametrize(
    ("locked", "missing"),
    [
        ('requires-python = ">=3.11"\n', "price-service"),
        ('requires-python = ">=3.11"\nname = "price-service"\n', "expected zizmor 3 times"),
    ],
)
def test_the_lock_tool_refuses_an_unexpected_lock_file(locked: str, missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        lock.with_markup(locked)


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


def test_the_waterfall_shows_each_wait_at_its_time() -> None:
    waits = [demo.Wait("A", 0, 50), demo.Wait("B", 0, 50)]
    console = Console(width=40, force_terminal=False)

    with console.capture() as captured:
        console.print(demo.waterfall(waits, console.width))

    first, second = captured.get().splitlines()
    bar = "█" * 14
    assert first.startswith(f"  A {bar} ")
    assert second.startswith(f"  B {bar}░░░░")
