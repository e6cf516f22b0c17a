"""Writes the time of each module into `tests/README.md`: `python -m scripts.test_times REPORT`.

The report is the file of `pytest --junitxml=REPORT`, for all tests or for some. The times are upper
bounds in coarse steps, so that the page changes with a module and not with every run.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

from .baking import ROOT

PAGE = ROOT / "tests" / "README.md"
STEPS = {2: "2 s", 5: "5 s", 10: "10 s", 30: "30 s", 60: "1 min", 120: "2 min", 300: "5 min"}
ROW = re.compile(r"^(\| `([\w/]+\.py)` \| .* \| )([^|,]*)((?:, heavy)?) \|$", re.MULTILINE)


def bound(seconds: float) -> str:
    """The least step above a time."""
    return next((name for most, name in STEPS.items() if seconds < most), "10 min")


def times(report: str) -> Mapping[str, float]:
    """The seconds of each module of a report, by its path below `tests`."""
    found: dict[str, float] = defaultdict(float)
    for case in ET.fromstring(report).iter("testcase"):  # noqa: S314 - pytest has written it
        parts = case.get("classname", "").split(".")[1:]
        names = [part for part in parts if not part[:1].isupper()]  # without the class
        found["/".join(names) + ".py"] += float(case.get("time", "0"))
    return found


def with_times(page: str, seconds: Mapping[str, float]) -> str:
    """The page with new times for the modules in the report, and the others unchanged."""

    def row(match: re.Match[str]) -> str:
        before, module, _, heavy = match.groups()
        return f"{before}{bound(seconds[module])}{heavy} |" if module in seconds else match[0]

    return ROW.sub(row, page)


if __name__ == "__main__":
    report = Path(sys.argv[1]).read_text(encoding="utf-8")
    PAGE.write_text(with_times(PAGE.read_text(encoding="utf-8"), times(report)), encoding="utf-8")
