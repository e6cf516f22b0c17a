"""The commands that the READMEs show work, as they are shown.

In a block fenced as `console`, the lines that begin with `$ ` are run, in order and in one shell,
and blocks go on in the folder that the one before ended in. A comment on the line before the fence
changes that: `<!-- keeps running -->` leaves the block's last command running for the blocks that
follow, and `<!-- not run: reason -->` leaves the block out.
"""

import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from .baking import OLDEST, ROOT, bake
from .releases import git, working_tree
from .serving import free_port, running
from .test_habits import targets
from .uv import on_python, run

BLOCK = re.compile(r"(?:<!-- ([^\n]*) -->\n)?```(\w*)\n(.*?)```", re.DOTALL)
NOT_RUN = re.compile(r"not run: .+")

# What stands for the public repository, which a test does not ask.
URL = "https://github.com/your-org/cookiecutter-flask-async"
CHECKOUT = shlex.quote(str(ROOT))
STAND_INS = {
    f"uvx cookiecutter {URL}": f"{shlex.quote(sys.executable)} -m cookiecutter {CHECKOUT}",
    f"git clone {URL}": f"ln -s {CHECKOUT} cookiecutter-flask-async",
}


class Block(NamedTuple):
    """The commands of a block, and whether the last one keeps running."""

    commands: list[str]
    keeps_running: bool


def blocks(text: str) -> Iterator[Block]:
    """The blocks to run."""
    for mark, language, body in BLOCK.findall(text):
        assert language in {"console", "text", "json", "python"}, f"unknown language {language!r}"
        if language != "console" or NOT_RUN.fullmatch(mark):
            continue
        assert mark in {"", "keeps running"}, f"unknown mark {mark!r}"
        commands = [line.removeprefix("$ ") for line in body.splitlines() if line[:2] == "$ "]
        assert commands, f"no command in {body!r}"
        yield Block(commands, keeps_running=bool(mark))


def run_blocks(readme: str, folder: Path, env: dict[str, str]) -> None:
    """Runs every block of a README, from `folder`."""
    port = free_port()
    env = env | {"PORT": str(port), "DEMO_EXIT": "1"}
    for shown, stand_in in STAND_INS.items():
        readme = readme.replace(shown, stand_in)
    readme = readme.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    where = folder / ".where"
    with ExitStack() as servers:
        for block in blocks(readme):
            commands = block.commands[:-1] if block.keeps_running else block.commands
            script = "\n".join(["set -euo pipefail", *commands, f"pwd > {shlex.quote(str(where))}"])
            run("bash", "-c", script, cwd=folder, env=env, answers="\n" * 50)
            folder = Path(where.read_text(encoding="utf-8").strip())
            if block.keeps_running:
                command = shlex.split(block.commands[-1])
                servers.enter_context(
                    running(*command, cwd=folder, env=os.environ | env, port=port)
                )


@pytest.mark.heavy
@pytest.mark.parametrize("page", ["README.md", "AGENTS.md"])
def test_the_commands_of_a_bake_work(page: str, tmp_path: Path) -> None:
    project = bake(tmp_path)

    run_blocks((project / page).read_text("utf-8"), project, on_python(OLDEST))


def test_the_commands_of_the_template_work(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    run_blocks(readme, tmp_path, on_python(OLDEST))


@pytest.mark.heavy
def test_the_commands_for_assistants_work(tmp_path: Path) -> None:
    working_tree(tmp_path)  # a copy, whose workbench is nobody's
    git(tmp_path, "init", "--quiet")

    run_blocks((tmp_path / "AGENTS.md").read_text("utf-8"), tmp_path, on_python(OLDEST))


TASK = re.compile(r"\bmake ([a-z][\w-]*)")
PAGES = ("README.md", "AGENTS.md", "CONTRIBUTING.md", ".github/pull_request_template.md")


@pytest.mark.parametrize("place", ["here", "in a bake"])
def test_every_task_that_a_page_names_is_in_the_makefile(place: str, project: Path) -> None:
    folder = ROOT if place == "here" else project
    pages = [folder / page for page in PAGES if (folder / page).exists()]
    code = re.compile(r"`make [^`]+`|^\$ make .+", re.MULTILINE)
    named = {
        task
        for page in pages
        for span in code.findall(page.read_text(encoding="utf-8"))
        for task in TASK.findall(span)
    }

    assert len(pages) >= 3
    assert named
    assert named - targets(folder) == set()


@pytest.mark.parametrize("place", ["here", "in a bake"])
def test_the_page_for_assistants_is_short_and_names_what_there_is(
    place: str, project: Path
) -> None:
    folder = ROOT if place == "here" else project
    page = (folder / "AGENTS.md").read_text(encoding="utf-8")
    names = re.findall(r"`([\w{}./-]+(?:/|/[\w.-]+|\.(?:example|json|lock|md|py|toml|yml)))`", page)

    assert (folder / "CLAUDE.md").read_text(encoding="utf-8") == "@AGENTS.md\n"
    assert page.count("\n") <= 60
    assert len(names) > 8
    for name in names:
        path = name.replace("NAME", "*").replace("test_*", "test_h*")
        assert any({*base.glob(path)} for base in (folder, folder / "src/price_service")), name
