"""The document shows the tables that the heavy tests check."""

import pytest

from tests.baking import ROOT
from tests.compat import suites

from .tables import DECORATORS, SUITES, WAYS, listed

DOCUMENT = (ROOT / "docs" / "extensions.md").read_text(encoding="utf-8")
IN_WORDS = {
    "loop": "on the loop",
    "hook": "in a thread, for its hooks",
    "thread": "in a thread",
    "broken": "broken natively too",
}


@pytest.mark.parametrize("package", SUITES)
def test_the_list_covers_the_locked_version(package: str) -> None:
    assert suites.lock()[package]["version"] == SUITES[package]["version"]


def test_every_difference_has_a_reason() -> None:
    entries = [entry for each in SUITES.values() for entry in each.get("differs", [])]

    assert all(entry["ways"] and {*entry["ways"]} <= {*WAYS} for entry in entries)
    assert all(entry["tests"] and entry["reason"].endswith(".") for entry in entries)


def test_the_document_says_how_many_tests_pass() -> None:
    rows = []
    for package, described in SUITES.items():
        natively = described["passed"]
        # Every test with a difference fails.
        bridged, on_loop = (natively - len(listed(package, way)) for way in WAYS[1:])
        name = f"{described['title']} {described['version']}"
        rows.append(f"| {name} | {natively} | {bridged} | {on_loop} |\n")

    assert f"|---|---|---|---|\n{''.join(rows)}\n" in DOCUMENT


def test_the_document_says_where_decorated_views_run() -> None:
    rows = [f"| {row['code']} | {IN_WORDS[row['runs']]} |\n" for row in DECORATORS.values()]

    assert f"|---|---|\n{''.join(rows)}\n" in DOCUMENT
