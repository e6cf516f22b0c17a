"""The common part of the commands for overload, memory and attacks: services, options, results.

Each prints its tables. With `--publish` it also keeps them: as JSON in `benchmarks/results`, and as
Markdown in `docs/robustness.md`, between the two comments with its name.
"""

import argparse
import json
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import machine
from .bake import baked_service, synced
from .services import Service
from .serving import ROOT, BenchError

PUBLISHED = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "robustness.md"
OPEN_FILES = 10_500

Row = dict[str, Any]

IDENTITY = ("peer", "label", "load", "kind", "case", "attack")  # the fields that identify a row
_FIRST = {"before": 0, "template": 1}


class Table(NamedTuple):
    """A table of texts."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table in Markdown, under its title."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        cells = ("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)
        return f"**{self.title}**\n\n" + "\n".join(cells) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def parser(about: str | None, peers: Iterable[str]) -> argparse.ArgumentParser:
    """The common options; `about` is a module's docstring."""
    found = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument(
        "--peer",
        action="append",
        choices=["template", "before", *peers],
        help="a service to measure; may be repeated. Default: all",
    )
    found.add_argument(
        "--project", type=Path, metavar="DIR", help="a baked project, instead of a fresh bake"
    )
    found.add_argument(
        "--before", metavar="COMMIT", default="", help="the template at this commit as well"
    )
    found.add_argument("--publish", action="store_true", help="keep the results")
    return found


def services(options: argparse.Namespace, peers: dict[str, Service]) -> dict[str, Service]:
    """The chosen services, by name; bakes the projects that they need.

    Raises:
        BenchError: a project does not bake.
    """
    names = options.peer or [*(["before"] if options.before else []), "template", *peers]
    found = {}
    for name in names:
        if name == "template":
            project = synced(options.project.absolute()) if options.project else baked_service()
            found[name] = Service("this template", project)
        elif name == "before":
            if not options.before:
                message = "--peer before needs --before COMMIT."
                raise BenchError(message)
            project = baked_service(options.before)
            found[name] = Service(f"this template at {options.before}", project)
        else:
            found[name] = peers[name]
    return found


def counts(counted: dict[str, int]) -> str:
    """The counts as a text."""
    return ", ".join(f"{name}: {count:,}" for name, count in sorted(counted.items())) or "none"


def publish(name: str, rows: list[Row], tables: Callable[[list[Row]], list[Table]]) -> None:
    """Writes the results and their tables; keeps the published rows that were not measured now.

    Raises:
        BenchError: the published rows are of another machine or other versions.
    """
    about = {"machine": machine.machine(), "versions": machine.packages()}
    file = PUBLISHED / f"{name}.json"
    if file.exists():
        published = json.loads(file.read_text(encoding="utf-8"))
        if about != {part: published[part] for part in about}:
            message = (
                f"{file.name} is of another machine or other versions, so new figures cannot "
                "be added. Remove it and measure all services."
            )
            raise BenchError(message)
        rows = merged(published["rows"], rows)
    lines = ",\n".join(json.dumps(row) for row in rows)
    head = json.dumps(about, indent=1).removesuffix("\n}")
    file.write_text(f'{head},\n "rows": [\n{lines}\n ]\n}}\n', encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(replaced(page, name, told(tables(rows))), encoding="utf-8")


def told(tables: Iterable[Table]) -> str:
    """The tables in Markdown, one after another."""
    return "\n".join(table.markdown() for table in tables)


def merged(old: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """All rows, with new rows in place of old rows of the same key; the template comes first."""
    found = {tuple(row.get(part) for part in IDENTITY): row for row in (*old, *new)}
    return sorted(found.values(), key=lambda row: _FIRST.get(row["peer"], len(_FIRST)))


def replaced(page: str, name: str, text: str) -> str:
    """The page with this text between the comments `name:begin` and `name:end`.

    Raises:
        BenchError: the page lacks the comments.
    """
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        message = f"The page has no comments {begin.strip()} and {end}."
        raise BenchError(message)
    return f"{before}{begin}\n{text}\n{end}{after}"


def show(table: Table) -> None:
    """Prints a table in its full width."""
    widths = [max(map(len, column)) for column in zip(table.columns, *table.rows, strict=True)]
    print(f"\n{table.title}\n")
    for line in (table.columns, ["-" * width for width in widths], *table.rows):
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)))


def report(
    name: str,
    rows: list[Row],
    tables: Callable[[list[Row]], list[Table]],
    options: argparse.Namespace,
) -> None:
    """Prints the tables of `rows`, and publishes them if the options say so."""
    for table in tables(rows):
        show(table)
    if options.publish:
        publish(name, rows, tables)


def main(work: Callable[[], None]) -> int:
    """Runs a command; returns its exit code: 0 if every measurement succeeded."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # this also stops the servers
    try:
        raise_open_files()
        work()
    except BenchError as error:
        print(error)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.")
        return 1
    return 0


def raise_open_files() -> None:
    """Raises the limit of open files for this process and its children.

    Raises:
        BenchError: this user may not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
        message = f"A process may open {hard} files here; the benchmarks need {OPEN_FILES}."
        raise BenchError(message)
    if soft < OPEN_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))
