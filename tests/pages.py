"""Follows a page of the documentation: writes its files, and runs its commands.

A block of code belongs to the file that the line before it names, at its end: "Write `src/a.py`:".
The file is written as a whole. A block fenced as `diff` changes the file: its lines that begin with
a space or `-` must occur in it exactly once, and are replaced by those with a space or `+`. A line
`@@` begins another change of the same file.

In a block fenced as `console` the lines that begin with `$ ` are run, in one shell. The other lines
are their output, in this order; `...` stands for any text. A comment on the line before the fence
changes that:

- `<!-- fails -->`: the last command fails.
- `<!-- keeps running -->`: the only command is a server, which runs until the page ends.
- `<!-- not run: reason -->`: only shown.

A block fenced as `text` is only shown.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from .serving import running

NAMED = re.compile(r"`([^`\s]+)`:$")
MARK = re.compile(r"<!-- (fails|keeps running|not run: .+) -->\n?")


@dataclass(frozen=True)
class Edit:
    """A file that a page writes or changes."""

    path: str
    language: str
    text: str

    def apply(self, folder: Path) -> None:
        """Write or change the file in `folder`."""
        path = folder / self.path
        if self.language == "diff":
            self._change(path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.text, encoding="utf-8")

    def _change(self, path: Path) -> None:
        text = "\n" + path.read_text(encoding="utf-8")
        for change in self.text.split("@@\n"):
            lines = [line or " " for line in change.splitlines()]
            assert all(line[0] in " +-" for line in lines), f"no diff of {self.path}: {change}"
            old = "".join(f"\n{line[1:]}" for line in lines if line[0] != "+") + "\n"
            new = "".join(f"\n{line[1:]}" for line in lines if line[0] != "-") + "\n"
            found = re.findall(f"(?={re.escape(old)})", text)  # also overlapping matches
            assert len(found) == 1, f"{len(found)} times in {self.path}:{old}"
            text = text.replace(old, new)
        path.write_text(text[1:], encoding="utf-8")


@dataclass(frozen=True)
class Commands:
    """Commands that a page shows, and their output."""

    commands: list[str]
    printed: list[str]
    mark: str

    def run(self, folder: Path, env: Mapping[str, str]) -> None:
        """Run them in `folder`.

        Raises:
            AssertionError: their outcome or their output differs from the page.
        """
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(self.commands)],
            cwd=folder,
            env={**os.environ, **env},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        what = f"{self.commands} exited {done.returncode}:\n{done.stdout}"
        assert (done.returncode != 0) == (self.mark == "fails"), what
        shown = [re.escape(line).replace(r"\.\.\.", ".*") for line in self.printed]
        pattern = r" *\n(?s:.*?)^".join(shown)
        assert re.search(f"^{pattern} *$", done.stdout, re.MULTILINE), what


Step = Edit | Commands


def steps(text: str) -> Iterator[Step]:
    """The steps of a page, in order.

    Raises:
        AssertionError: a block is neither a step nor marked as only shown.
    """
    tokens = [token for token in MarkdownIt().parse(text) if token.type in SEEN]
    for before, token in pairwise([Token("inline", "", 0), *tokens]):
        if token.type != "fence":
            continue
        comment = MARK.fullmatch(before.content) if before.type == "html_block" else None
        mark = comment[1] if comment else ""
        if token.info == "console" and not mark.startswith("not run"):
            yield _commands(token.content, mark)
        elif token.info not in {"console", "text"} and not mark:
            named = NAMED.search(before.content)
            assert named, f"no line before it names the file of:\n{token.content}"
            yield Edit(named[1], token.info, token.content)


SEEN = {"fence", "html_block", "inline"}


def _commands(block: str, mark: str) -> Commands:
    lines = block.splitlines()
    commands = [line[2:] for line in lines if line.startswith("$ ")]
    assert commands, f"no command in:\n{block}"
    assert mark != "keeps running" or len(lines) == 1
    return Commands(commands, [line for line in lines if line and line[:2] != "$ "], mark)


def catch_up(page: Path, folder: Path, env: Mapping[str, str]) -> None:
    """Take only the steps of a page that write files in `folder`, to prepare the next page."""
    for step in steps(page.read_text(encoding="utf-8")):
        if isinstance(step, Edit):
            step.apply(folder)
        elif writing := [command for command in step.commands if " > " in command]:
            Commands(writing, [], "").run(folder, env)


def follow(page: Path, folder: Path, env: Mapping[str, str]) -> None:
    """Take every step of a page in `folder`."""
    text = page.read_text(encoding="utf-8").replace("127.0.0.1:8000", f"127.0.0.1:{env['PORT']}")
    with ExitStack() as servers:
        for step in steps(text):
            if isinstance(step, Edit):
                step.apply(folder)
            elif step.mark == "keeps running":
                command, port = shlex.split(step.commands[0]), int(env["PORT"])
                server = running(*command, cwd=folder, env={**os.environ, **env}, port=port)
                servers.enter_context(server)
            else:
                step.run(folder, env)
