"""Writes the time of each test module into `tests/README.md`: `-m scripts.test_times LIGHT HEAVY`.

Each argument is the file of `pytest --junitxml=...`: one for the tests of `make test`, one for the
heavy tests. The times are upper bounds in coarse steps, so that the page changes with a module and
not with every run.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

from .baking import ROOT

PAGE = ROOT / "tests" / "README.md"
STEPS = {2: "2 s", 5: "5 s", 10: "10 s", 30: "30 s"} | {
    60 * minutes: f"{minutes} min" for minutes in (1, 2, 5, 10, 20)
}
ROW = re.compile(r"^(\| `([\w/]+\.py)` \| .* \| )[^|]* \|$", re.MULTILINE)

Seconds = Mapping[str, float]


def bound(seconds: float) -> str:
    """The least step above a time."""
    return next((name for most, name in STEPS.items() if seconds < most), "1 h")


def times(report: str) -> Seconds:
    """The seconds of each module of a report, by its path below `tests`."""
    found: dict[str, float] = defaultdict(float)
    for case in ET.fromstring(report).iter("testcase"):  # noqa: S314 - pytest has written it
        parts = case.get("classname", "").split(".")[1:]
        names = [part for part in parts if not part[:1].isupper()]  # without the class
        found["/".join(names) + ".py"] += float(case.get("time", "0"))
    return found


def with_times(page: str, light: Seconds, heavy: Seconds) -> str:
    """The page with new times for the modules in the reports, and the others unchanged."""

    def row(match: re.Match[str]) -> str:
        before, module = match.groups()
        cells = [bound(light[module])] if module in light else []
        cells += [f"heavy: {bound(heavy[module])}"] if module in heavy else []
        return f"{before}{', '.join(cells)} |" if cells else match[0]

    return ROW.sub(row, page)


if __name__ == "__main__":
    light, heavy = (times(Path(report).read_text(encoding="utf-8")) for report in sys.argv[1:3])
    PAGE.write_text(with_times(PAGE.read_text(encoding="utf-8"), light, heavy), encoding="utf-8")
