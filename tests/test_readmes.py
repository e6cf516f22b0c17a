"""The commands in the READMEs work as shown.

In a block fenced as `console`, the lines that begin with `$ ` are run, in order and in one shell,
with the lines below them that begin with `> `. Each block starts in the last folder of the block
before. A comment on the line before the fence changes that: `<!-- keeps running -->` leaves the
block's last command running for the blocks that follow, and `<!-- not run: reason -->` leaves the
block out.
"""

import asyncio
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import httpx
import pytest
from flask import Blueprint, Flask, request
from flask_asgi import FlaskToAsgi
from upstreams import UpstreamTimeout, fan_out

from scripts.address import address

from .baking import OLDEST, QUESTIONS, ROOT, bake
from .releases import commit, git, working_tree
from .serving import free_port, running
from .test_habits import targets
from .uv import on_python, run

BLOCK = re.compile(r"(?:<!-- ([^\n]*) -->\n)?```(\w*)\n(.*?)```", re.DOTALL)
NOT_RUN = re.compile(r"not run: .+")

# Local replacements of the public repository, as tests use no network.
URL = address()
CHECKOUT = shlex.quote(str(ROOT))
STAND_INS = {
    f"uvx cookiecutter {URL}": f"{shlex.quote(sys.executable)} -m cookiecutter {CHECKOUT}",
    f"git clone {URL}": f"ln -s {CHECKOUT} cookiecutter-flask-async",
}


class Block(NamedTuple):
    """The commands of a block, and whether the last command keeps running."""

    commands: list[str]
    keeps_running: bool


def blocks(text: str) -> Iterator[Block]:
    """The blocks to run."""
    for mark, language, body in BLOCK.findall(text):
        assert language in {"console", "text", "json", "python"}, f"unknown language {language!r}"
        if language != "console" or NOT_RUN.fullmatch(mark):
            continue
        assert mark in {"", "keeps running"}, f"unknown mark {mark!r}"
        shown = [line for line in body.splitlines() if line[:2] in {"$ ", "> "} or line == ">"]
        commands = re.split(r"\n?^\$ ", "\n".join(shown), flags=re.MULTILINE)[1:]
        commands = [re.sub("^> ?", "", command, flags=re.MULTILINE) for command in commands]
        assert commands, f"no command in {body!r}"
        yield Block(commands, keeps_running=bool(mark))


def test_a_command_includes_its_continued_lines() -> None:
    shown = "```console\n$ cat <<'END'\n> a\n>\n>   b\n> END\n  a\n$ true\n```\n"

    assert [*blocks(shown)] == [Block(["cat <<'END'\na\n\n  b\nEND", "true"], keeps_running=False)]


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


@pytest.mark.heavy
def test_the_commands_of_the_template_work(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    run_blocks(readme, tmp_path, on_python(OLDEST))


@pytest.mark.heavy
@pytest.mark.parametrize("page", ["AGENTS.md", "CONTRIBUTING.md"])
def test_the_commands_for_maintainers_work(page: str, tmp_path: Path) -> None:
    working_tree(tmp_path)  # a copy, as the commands overwrite the workbench
    git(tmp_path, "init", "--quiet")
    commit(tmp_path, "feat: the template")

    run_blocks((tmp_path / page).read_text("utf-8"), tmp_path, on_python(OLDEST))


def template_readme() -> str:
    """The README of the template."""
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_first_screen_has_the_command_and_a_view() -> None:
    lines = template_readme().splitlines()

    assert lines.index(f"$ uvx cookiecutter {URL}") < 10
    assert lines.index("async def prices() -> dict[str, object]:") < 20
    assert lines.index("## How fast") > lines.index("## What is not in it")


def test_the_view_in_the_readme_makes_all_calls_at_once() -> None:
    barrier = asyncio.Barrier(3)  # calls one after another would never return

    async def price(symbol: str) -> str:
        await barrier.wait()
        if symbol == "GOOG":
            raise UpstreamTimeout("prices", "no answer in time")  # noqa: EM101 - its upstream
        return f"price of {symbol}"

    bp = Blueprint("shown", __name__)
    prices_client = SimpleNamespace(price=price)
    names = {"bp": bp, "fan_out": fan_out, "request": request, "prices_client": prices_client}
    (code,) = re.findall(r"```python\n(.*?)```", template_readme(), re.DOTALL)
    exec(code, names)  # noqa: S102 - of this repository
    app = Flask(__name__)
    app.register_blueprint(bp)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(cast("Any", FlaskToAsgi(app)))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.get("/prices?symbol=AAPL&symbol=GOOG&symbol=MSFT")

    answer = asyncio.run(asyncio.wait_for(ask(), 30))

    prices = {symbol: f"price of {symbol}" for symbol in ("AAPL", "MSFT")}
    assert answer.json() == {"prices": prices, "missing": ["GOOG"]}


def entries(tree: str) -> set[str]:
    """The paths in a drawn tree of a project."""
    found: set[str] = set()
    folders: list[str] = []
    for line in tree.splitlines()[1:]:
        names = line.split("  ")
        depth = (len(line) - len(line.lstrip())) // 2
        folders = folders[: depth - 1]
        for name in next(filter(None, names)).split():
            found.add("/".join([*folders, name.rstrip("/")]))
            if name.endswith("/"):
                folders = [*folders, name.rstrip("/")]
    return found


def test_the_tree_in_the_readme_matches_a_bake(project: Path) -> None:
    (tree,) = re.findall(r"```text\n(price-service/\n.*?)```", template_readme(), re.DOTALL)
    real = {path.name for path in project.iterdir()}

    assert entries(tree) == real | {f"src/{path.name}" for path in (project / "src").iterdir()}
    for line in tree.splitlines()[1:-1]:
        assert re.search(r"\S  +\S|/$", line), f"{line!r} has no description"


def test_every_picture_and_page_that_the_readme_links_exists() -> None:
    links = re.findall(r"\]\(([^):]+)\)", template_readme())

    assert len(links) > 15
    for link in links:
        assert (ROOT / link.partition("#")[0]).exists(), link


def test_the_recorded_terminals_load_nothing_from_other_hosts() -> None:
    for name in ("bake", "demo"):
        picture = (ROOT / "docs" / "images" / f"{name}.svg").read_text(encoding="utf-8")
        assert "url(http" not in picture
        assert "href" not in picture
        assert str(Path.home()) not in picture
        assert "/tmp" not in picture  # noqa: S108 - looked for, not used
    for name in (each for each in QUESTIONS if not each.startswith("_")):
        assert f"{name}:" in (ROOT / "docs/images/bake.svg").read_text("utf-8").replace(
            "&#160;", " "
        )


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
def test_the_page_for_assistants_is_short_and_names_existing_files(
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
