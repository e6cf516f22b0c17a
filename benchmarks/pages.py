"""Writes the published tables into `docs/benchmarks.md`: `python -m benchmarks.pages`."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from . import observing, whole
from .robustness import PUBLISHED, Table, replaced, told
from .serving import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"

Results = Mapping[str, Any]

# By the name in their comments, which is also the prefix of the published results' names.
TABLES: dict[str, Callable[[Results], list[Table]]] = {
    "service": whole.tables,
    "observing": observing.tables,
}


def tables(results: Results) -> Iterator[Table]:
    """The tables of the available results."""
    for name in _measured(results):
        yield from TABLES[name](results)


def written(page: str, results: Results) -> str:
    """The page with these tables."""
    for name in _measured(results):
        page = replaced(page, name, told(TABLES[name](results)))
    return page


def _measured(results: Results) -> list[str]:
    return [name for name in TABLES if f"{name}_medians" in results]


def write(results: Results, page: Path = PAGE) -> None:
    """Writes the tables into the page."""
    page.write_text(written(page.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    write(json.loads((PUBLISHED / "results.json").read_text(encoding="utf-8")))
