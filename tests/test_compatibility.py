"""Flask's and asgiref's own tests pass through the bridge, with the documented exceptions."""

import re
from collections.abc import Callable

import pytest

from .baking import ROOT
from .compat import suites

DOCUMENT = (ROOT / "docs" / "flask-compatibility.md").read_text(encoding="utf-8")

Run = Callable[[suites.Suite, str], dict[str, str]]


@pytest.fixture(scope="module")
def run() -> Run:
    """Runs the tests of a package once in each way; skips if their sources are unavailable."""
    known: dict[tuple[suites.Suite, str], dict[str, str]] = {}

    def outcomes(suite: suites.Suite, way: str) -> dict[str, str]:
        if (suite, way) not in known:
            try:
                known[suite, way] = suites.outcomes(suite, way)
            except suites.IndexUnreachableError as error:
                pytest.skip(f"no sources of a suite from the package index: {error}")
        return known[suite, way]

    return outcomes


def documented(package: str) -> set[str]:
    """The tests in the first column of the tables of a package's section."""
    (section,) = re.findall(rf"^## {package}.*?(?=^## |\Z)", DOCUMENT, re.DOTALL | re.MULTILINE)
    return set(re.findall(r"^\| `([^`]+::[^`]+)` \|", section, re.MULTILINE))


@pytest.mark.parametrize(
    ("suite", "way"),
    [
        pytest.param(suites.FLASK, "bridge", marks=pytest.mark.heavy),
        pytest.param(suites.FLASK, "bridge-async", marks=pytest.mark.heavy),
        pytest.param(suites.ASGIREF, "bridge", marks=pytest.mark.heavy),
    ],
    ids=lambda value: getattr(value, "package", value),
)
def test_exactly_the_documented_tests_differ(suite: suites.Suite, way: str, run: Run) -> None:
    package, native, bridged = suite.package, run(suite, "nothing"), run(suite, way)

    assert documented(package) == suites.differing(bridged, native)
    # The counts in the document.
    assert f"| {package}, {way} | {suites.passed(bridged)} of {len(native)} |" in DOCUMENT
    assert f"| {package}, nothing | {suites.passed(native)} of {len(native)} |" in DOCUMENT
