"""Bakes only the files that hold answers, and compares their data with the answers.

A reader of each language turns a file into plain data. The data of a bake must equal those of a
bake with tame answers, after each tame answer is replaced by the real answer. So a file or a
question that is added later is compared without a new test.
"""

import ast
import json
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from scripts.baking import bake_template

from .baking import QUESTIONS, ROOT

# An answer without a meaning in any language, for every question that takes a text.
TAME = {
    name: "tame" + name.replace("_", "")
    for name, default in QUESTIONS.items()
    if isinstance(default, str) and not name.startswith("_")
} | {
    "email": "tameemail@example.org",
    "github_username": "tameGitHubUsername",  # in the name of an image it is in lower case
}

FREE_TEXTS = set(TAME) - {"project_slug", "package_name"}

# How an answer is quoted in each language, even if the service has no file in that language today:
# the text around the answers, and the text around each answer.
PROBES = {
    "probe.toml": ("{}", '{variable} = "{{{{ cookiecutter.{variable} | escaped }}}}"\n'),
    "probe.yaml": ("{}", '{variable}: "{{{{ cookiecutter.{variable} | escaped }}}}"\n'),
    "probe.json": ("[{}0]", '"{{{{ cookiecutter.{variable} | escaped }}}}",\n'),
    "probe.py": ("{}", '{variable} = "{{{{ cookiecutter.{variable} | escaped }}}}"\n'),
    "probe.html": (
        "{}",
        '<p title="{0}">{0}</p>\n'.format("{{{{ cookiecutter.{variable} | e }}}}"),
    ),
    "probe.md": (
        "{}",
        "# {0}\n\n{0}\n\n- {0}\n\n| a | b |\n|---|---|\n| {0} | b |\n\n".format(
            "{{{{ cookiecutter.{variable} | markdown }}}}"
        ),
    ),
}


class Elements(HTMLParser):
    """The content of a page: its tags with their attributes, and its texts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Any] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps a tag with its attributes."""
        self.found.append([tag, attrs])

    def handle_endtag(self, tag: str) -> None:
        """Keeps where an element ends."""
        self.found.append(["/" + tag])

    def handle_comment(self, data: str) -> None:
        """Keeps a comment."""
        self.found.append(["!--", data])

    def handle_decl(self, decl: str) -> None:
        """Keeps a declaration."""
        self.found.append(["!", decl])

    def handle_data(self, data: str) -> None:
        """Keeps a text, in one piece."""
        if self.found and isinstance(self.found[-1], str):
            data = self.found.pop() + data
        self.found.append(data)


def html(text: str) -> list[Any]:
    """A page as its tags, attributes and texts."""
    elements = Elements()
    elements.feed(text)
    elements.close()
    return elements.found


def markdown(text: str) -> list[Any]:
    """A document as the content of its HTML page."""
    rules = ["table", "strikethrough"]
    return html(MarkdownIt("commonmark").enable(rules).render(text))


def python(text: str) -> Any:  # noqa: ANN401 (plain data)
    """A module as its syntax tree."""

    def plain(node: object) -> object:
        if isinstance(node, ast.AST):
            return [type(node).__name__, *(plain(value) for _, value in ast.iter_fields(node))]
        return [plain(child) for child in node] if isinstance(node, list) else node

    return plain(ast.parse(text))


READERS: dict[str, Callable[[str], Any]] = {
    ".html": html,
    ".json": json.loads,
    ".md": markdown,
    ".py": python,
    ".toml": tomllib.loads,
    ".yaml": lambda text: list(yaml.safe_load_all(text)),
    ".yml": lambda text: list(yaml.safe_load_all(text)),
}


def read(path: Path) -> Any:  # noqa: ANN401 (plain data)
    """The data in a file of this project, by its type; its text if the type is unknown."""
    return READERS.get(path.suffix, str)(path.read_text(encoding="utf-8"))


def replaced(data: Any, real: Mapping[str, str]) -> Any:  # noqa: ANN401 (plain data)
    """The data of a bake with tame answers, with each of them replaced by the real one."""
    tame = re.compile("|".join(map(re.escape, real)))

    def replace(data: Any) -> Any:  # noqa: ANN401 (plain data)
        if isinstance(data, str):
            return tame.sub(lambda found: real[found[0]], data)
        if isinstance(data, dict):
            return {replace(key): replace(value) for key, value in data.items()}
        if isinstance(data, list | tuple):
            return type(data)(map(replace, data))
        return data

    return replace(data)


def refusal(template: Path, folder: Path, answers: Mapping[str, str]) -> str:
    """Bakes in this process; returns the sentence that refuses the answers, or an empty text.

    It bakes without the hooks, so that no file is left out, whatever the other answers are.
    """
    elsewhere = [folder for folder in sys.path if Path(folder).resolve() != ROOT]
    try:
        with redirect_stderr(StringIO()), pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "path", elsewhere)  # a copy of the template must import its own
            bake_template(template, folder, answers, accept_hooks=False)
    except SystemExit as refused:
        return str(refused.code)
    return ""


class Service:
    """The template without the files that hold no free text, and its bake with tame answers."""

    def __init__(self, folder: Path) -> None:
        """Copies the necessary files of the template into `folder`."""
        self.template = folder / "template"
        project = self.template / "{{cookiecutter.project_slug}}"
        whole = folder / "whole"
        assert refusal(ROOT, whole, TAME) == ""
        sources = ROOT / project.name
        for source in filter(Path.is_file, sources.rglob("*")):
            name = source.relative_to(sources).as_posix()
            for variable in ("project_slug", "package_name"):
                name = name.replace(f"{{{{cookiecutter.{variable}}}}}", TAME[variable])
            text = (
                (whole / TAME["project_slug"] / name).read_text("utf-8") if "{%" not in name else ""
            )
            if any(TAME[variable].lower() in text.lower() for variable in FREE_TEXTS):
                self.keep(source, project / source.relative_to(sources))
        for name in ("cookiecutter_flask_async_answers.py", "cookiecutter.json", "pyproject.toml"):
            self.keep(ROOT / name, self.template / name)
        shutil.copytree(ROOT / "templates", self.template / "templates")
        names = re.findall(r'^name = ".*"$', (sources / "uv.lock").read_text("utf-8"), re.MULTILINE)
        (project / "uv.lock").write_text("\n".join(names), encoding="utf-8")
        for name, (around, each) in PROBES.items():
            text = "".join(each.format(variable=variable) for variable in sorted(FREE_TEXTS))
            (project / name).write_text(around.format(text), encoding="utf-8")
        self.tame = self.data(folder / "tame", TAME)

    @staticmethod
    def keep(source: Path, target: Path) -> None:
        """Copies one file."""
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)

    def data(self, folder: Path, answers: Mapping[str, str]) -> dict[str, Any] | str:
        """The data of every file of a bake, or the refusal."""
        if sentence := refusal(self.template, folder, answers):
            return sentence
        project = folder / answers["project_slug"]
        files = [path for path in sorted(project.rglob("*")) if path.is_file()]
        return {
            path.relative_to(project).as_posix(): read(path)
            for path in files
            if path.name != "uv.lock"
        }

    def expected(self, answers: Mapping[str, str]) -> Any:  # noqa: ANN401 (plain data)
        """The data that every file of a bake with these answers must have."""
        real = {tame: answers[name] for name, tame in TAME.items()}
        user = "github_username"
        return replaced(self.tame, real | {TAME[user].lower(): answers[user].lower()})
