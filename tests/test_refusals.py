"""A bad answer ends the bake with one sentence, before a file is written."""

import json
import os
import shlex
import subprocess
import sys
import tomllib
from itertools import product
from pathlib import Path

import pytest
import yaml

from .baking import ROOT, contents, on_command_line


def replay_file() -> Path:
    """The file in which Cookiecutter keeps the answers of the last bake."""
    config = Path(os.environ["COOKIECUTTER_CONFIG"]).read_text(encoding="utf-8")
    return Path(yaml.safe_load(config)["replay_dir"], f"{ROOT.name}.json")


def run_cookiecutter(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A bake into the folder, run in that folder."""
    return on_command_line(ROOT, "-o", folder, *arguments, cwd=folder)


def with_and_without_hooks(*values: object) -> list[object]:
    """Each value alternately with hooks and without them; the other half of the pairs is heavy.

    A refused bake does not reach its hooks, and each pair needs a process.
    """
    pairs = product(enumerate(values), enumerate(["yes", "no"]))
    return [
        pytest.param(value, hooks, marks=[pytest.mark.heavy] if (place + turn) % 2 else [])
        for (place, value), (turn, hooks) in pairs
    ]


@pytest.mark.parametrize(
    ("answer", "hooks"),
    with_and_without_hooks(
        "project_name=",
        "project_name=\u202e",
        "project_slug=../../outside/of/it",
        "project_slug=/absolute/path",
        "project_slug=json",
        "project_slug=flask-asgi",
        "package_name=upstreams",
        "package_name=class",
        "package_name=../escape",
        "package_name=..\\escape",
        "project_slug=C:\\escape",
        "project_slug={{ 7 * 7 }}",
        "full_name=line\nbreak",
        "email=nobody",
        "github_username=../x",
    ),
)
def test_a_refused_bake_prints_one_sentence_and_writes_no_file(
    answer: str, hooks: str, tmp_path: Path
) -> None:
    output = tmp_path / "one" / "two" / "three"
    output.mkdir(parents=True)

    refused = run_cookiecutter(output, "--no-input", "--accept-hooks", hooks, answer)

    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.count("\n") == 1
    assert refused.stderr.startswith("Error: ")
    assert "; accepted is " in refused.stderr
    assert [output] == [path for path in tmp_path.rglob("*") if not any(path.iterdir())]


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The replay file of a bake."""
    assert run_cookiecutter(tmp_path_factory.mktemp("good"), "--no-input").returncode == 0
    return replay_file().read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("edit", "hooks"),
    with_and_without_hooks(
        ("project_slug", "../../outside/of/it"),
        ("package_name", "../../outside"),
        ("license", "../../cookiecutter.json"),
        ("python_version", '3.11"\nlicense = "'),
        ("include_example", "perhaps"),
    ),
)
def test_a_replay_of_invalid_answers_is_refused(
    edit: tuple[str, str], hooks: str, replay: str, tmp_path: Path
) -> None:
    output = tmp_path / "one" / "two" / "three"
    output.mkdir(parents=True)
    edited = json.loads(replay)
    name, value = edit
    edited["cookiecutter"][name] = value
    (tmp_path / "replay.json").write_text(json.dumps(edited), encoding="utf-8")
    before = contents(tmp_path)

    refused = run_cookiecutter(
        output, "--replay-file", str(tmp_path / "replay.json"), "--accept-hooks", hooks
    )

    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Error: {name} ")
    assert refused.stderr.count("\n") == 1
    assert before.keys() == contents(tmp_path).keys()
    assert list(output.iterdir()) == []


CODE = [
    "{{ 7 * 7 }}",
    "{{ cookiecutter.email }}",
    "{{ cycler.__init__.__globals__.os.mkdir('executed') }}",
    "{% for x in range(3) %}x{% endfor %}",
    "{% raw %} {# comment #} }} {{",
    "# jinja: if cookiecutter.email",
    "${{ github.token }} $(mkdir executed) `mkdir executed`",
    '"""; import os; os.mkdir("executed")  # "',
    "'; __import__('os').mkdir('executed'); '",
]
DEALT = [
    pytest.param(tuple(CODE[start : start + 3]), marks=[pytest.mark.heavy] if start else [])
    for start in range(0, len(CODE), 3)
]
ALIKE = [pytest.param((code, code, code), marks=pytest.mark.heavy) for code in CODE]


@pytest.mark.parametrize("answers", DEALT + ALIKE)
def test_no_answer_is_executed(answers: tuple[str, str, str], tmp_path: Path) -> None:
    """The heavy tests give each code to every question, the others to one question."""
    questions = ("project_name", "project_description", "full_name")
    given = [f"{name}={answer}" for name, answer in zip(questions, answers, strict=True)]

    baked = run_cookiecutter(tmp_path, "--no-input", "project_slug=plain", *given)

    assert baked.returncode == 0, baked.stderr
    assert [tmp_path / "plain"] == list(tmp_path.iterdir())
    assert list(tmp_path.rglob("executed")) == []
    metadata = tomllib.loads((tmp_path / "plain" / "pyproject.toml").read_text("utf-8"))["project"]
    assert answers[1] == metadata["description"]
    assert answers[2] == metadata["authors"][0]["name"]
    compile((tmp_path / "plain/src/plain/__init__.py").read_text("utf-8"), "it", "exec")


@pytest.mark.parametrize("answer", ["license=GPL", "include_example=perhaps"])
def test_cookiecutter_refuses_an_unknown_choice(answer: str, tmp_path: Path) -> None:
    name, value = answer.split("=")

    refused = run_cookiecutter(tmp_path, "--no-input", answer)

    # It shows a traceback, before it loads the template.
    assert refused.returncode == 1
    assert f"{value} provided for" in refused.stderr.splitlines()[-1]
    assert name in refused.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_at_a_terminal_prints_how_to_reuse_the_other_answers(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")  # Windows lacks it
    person, terminal = pty.openpty()
    try:
        os.write(person, b"Ann's Prices\nann\n../x\n\n\n")
        refused = subprocess.run(
            [sys.executable, "-m", "cookiecutter", ROOT, "-o", tmp_path],
            stdin=terminal,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(person)
        os.close(terminal)

    first, _, last = refused.stderr.splitlines()
    assert first.startswith("Error: package_name '../x' does not have the right form; ")
    assert shlex.split(last) == ["project_name=Ann's Prices", "project_slug=ann"]
    good = run_cookiecutter(tmp_path, "--no-input", *shlex.split(last))
    assert good.returncode == 0, good.stderr
    assert (tmp_path / "ann" / "pyproject.toml").exists()
