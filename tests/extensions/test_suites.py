"""The extensions' own tests have the same outcomes through the bridge, with listed exceptions.

`suites.toml` lists them with their reasons. A missing entry fails a test, and so does an entry
without a difference.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.compat import suites
from tests.compat.suites import Suite

from .tables import SUITES, WAYS, listed

Outcomes = dict[str, str]


def suite(package: str) -> Suite:
    """The suite of an extension as `suites.toml` describes it."""
    described = SUITES[package]
    return Suite(
        package,
        tests=tuple(described.get("tests", ["tests"])),
        options=tuple(described.get("options", [])),
        without=tuple(described.get("without", [])),
        group="extension-suites",
    )


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[str, str], Outcomes]]:
    """Runs the suites of the selected tests in advance, on every core; returns their outcomes."""
    cases = [item.callspec.params for item in request.session.items if is_run(item)]  # type: ignore[attr-defined]
    wanted = [(case["package"], way) for case in cases for way in ("nothing", case["way"])]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running: dict[tuple[str, str], Future[Outcomes]] = {
            (package, way): pool.submit(suites.outcomes, suite(package), way)
            for package, way in dict.fromkeys(wanted)
        }
        yield lambda package, way: running[package, way].result()
        pool.shutdown(cancel_futures=True)


def is_run(item: pytest.Item) -> bool:
    """Whether a selected test runs the suite of an extension in one way."""
    return getattr(item, "originalname", "") == test_exactly_the_listed_tests_differ.__name__


@pytest.mark.heavy
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("package", SUITES)
def test_exactly_the_listed_tests_differ(
    package: str, way: str, run: Callable[[str, str], Outcomes]
) -> None:
    try:
        native, found = run(package, "nothing"), run(package, way)
    except suites.IndexUnreachableError as error:
        pytest.skip(f"no sources of {package} from the package index: {error}")

    if way == "nothing":
        assert {test for test, outcome in found.items() if outcome == "failed"} == listed(
            package, way
        )
        assert suites.passed(found) == SUITES[package]["passed"]
    else:
        assert suites.differing(found, native) == listed(package, way)
