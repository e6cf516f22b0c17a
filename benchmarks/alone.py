"""The common part of the measurements that `make bench` runs only by name.

Their figures are not part of `results.json`. Each has its own file in `benchmarks/results`, and
tables in a page of the documentation, between the two comments with its name.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from . import machine
from .robustness import PUBLISHED, Table, replaced, told
from .serving import ROOT

Row = dict[str, Any]


def publish(name: str, rows: Sequence[Row], tables: Iterable[Table], page: str) -> None:
    """Writes the results, and their tables into a page of `docs`.

    Raises:
        BenchError: the page lacks the comments around the tables.
    """
    path = ROOT / "docs" / page
    text = replaced(path.read_text(encoding="utf-8"), name, told(tables))
    path.write_text(text, encoding="utf-8")
    about = {"machine": machine.machine(), "versions": machine.packages()}
    lines = ",\n".join(json.dumps(row) for row in rows)
    head = json.dumps(about, indent=1).removesuffix("\n}")
    file = PUBLISHED / f"{name}.json"
    file.write_text(f'{head},\n "rows": [\n{lines}\n ]\n}}\n', encoding="utf-8")
