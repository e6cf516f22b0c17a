"""Records the two terminals that README.md shows: a bake with its questions, and `make demo`.

`make recording` runs both and writes their output to `docs/images/`. It needs a terminal, so it
does not work on Windows, and the tools that `make demo` needs.
"""

import os
import pty
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

from scripts import baking, demo
from scripts.address import address

FOLDER = baking.ROOT / "docs" / "images"
WIDTH = 92

# Without rich's fonts, which a browser would load from another host.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code, monospace", "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
)

# Control sequences of a line editor, which a picture cannot show.
CONTROL = re.compile(r"\x1b\[\?\d+[hl]|\r")
COLOUR = re.compile(r"\x1b\[[\d;]*m")


def recorder() -> Console:
    """A console that records its output."""
    return Console(record=True, width=WIDTH, file=StringIO(), highlight=False)


def typed(console: Console, command: str) -> None:
    """Prints a command as it looks after typing."""
    console.print(Text.assemble(("$ ", "green"), (command, "bold")))


def answered(command: list[str], folder: Path) -> str:
    """The output of a command in a terminal where Enter answers each question.

    Raises:
        CalledProcessError: it failed.
    """
    person, terminal = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(WIDTH), "PYTHONPATH": ""}
    shown = ""
    with subprocess.Popen(
        command, cwd=folder, env=env, stdin=terminal, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        while part := read(person):
            shown += part
            if COLOUR.sub("", shown).endswith("): "):
                os.write(person, b"\n")
    os.close(person)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, shown)
    return CONTROL.sub("", shown)


def read(terminal: int) -> str:
    """The output since the last call; empty at the end."""
    try:
        return os.read(terminal, 65536).decode()
    except OSError:  # on Linux, the program has closed its side
        return ""


def bake() -> Console:
    """A bake with every default answer."""
    console = recorder()
    typed(console, f"uvx cookiecutter {address()}")
    with TemporaryDirectory() as folder:
        command = [each for each in baking.command(Path(folder)) if each != "--no-input"]
        shown = answered(command, Path(folder))
    console.print(Text.from_ansi(shown.strip("\n")))
    return console


def run_demo() -> Console:
    """The demo.

    Raises:
        SystemExit: its waits did not overlap.
    """
    console = recorder()
    typed(console, "make demo")
    if not demo.demo(console, stay=False):
        sys.exit("The waits did not overlap: is the machine busy?")
    return console


def main() -> None:
    """Writes both pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, title, record in (("bake", "a new service", bake), ("demo", "make demo", run_demo)):
        svg = record().export_svg(
            title=title, theme=SVG_EXPORT_THEME, code_format=FORMAT, unique_id=name
        )
        text = "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"
        (FOLDER / f"{name}.svg").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
