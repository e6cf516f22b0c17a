"""Flask's and asgiref's own tests pass through the bridge, but for what the documents say."""

import re
from collections.abc import Callable

import pytest

from .baking import ROOT
from .compat import suites

DOCUMENT = (ROOT / "docs" / "flask-compatibility.md").read_text(encoding="utf-8")

Run = Callable[[str, str], dict[str, str]]


@pytest.fixture(scope="module")
def run() -> Run:
    """Runs the tests of a package, each way once; skips where they cannot be had."""
    known: dict[tuple[str, str], dict[str, str]] = {}

    def outcomes(package: str, way: str) -> dict[str, str]:
        if (package, way) not in known:
            try:
                known[package, way] = suites.outcomes(package, way)
            except suites.IndexUnreachableError as error:
                pytest.skip(f"the package index did not give the sources of {package}: {error}")
        return known[package, way]

    return outcomes


def documented(package: str) -> set[str]:
    """The tests in the first column of the tables of a package's section."""
    (section,) = re.findall(rf"^## {package}.*?(?=^## |\Z)", DOCUMENT, re.DOTALL | re.MULTILINE)
    return set(re.findall(r"^\| `([^`]+::[^`]+)` \|", section, re.MULTILINE))


@pytest.mark.parametrize(
    ("package", "way"),
    [
        ("flask", "bridge"),
        pytest.param("flask", "bridge-async", marks=pytest.mark.heavy),
        ("asgiref", "bridge"),
    ],
)
def test_exactly_the_documented_tests_differ(package: str, way: str, run: Run) -> None:
    native, bridged = run(package, "nothing"), run(package, way)

    assert documented(package) == suites.differing(bridged, native)
    # The counts in the document.
    assert f"| {package}, {way} | {suites.passed(bridged)} of {len(native)} |" in DOCUMENT
    assert f"| {package}, nothing | {suites.passed(native)} of {len(native)} |" in DOCUMENT
