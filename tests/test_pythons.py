"""The libraries' tests pass on every Python that is found, and with the oldest dependencies.

`make test` runs them on its own Python, together with all other tests.
"""

import sys

import pytest

from . import libraries
from .baking import OLDEST, PYTHONS, ROOT
from .test_layout import LIBRARIES
from .uv import run

pytestmark = pytest.mark.heavy

each_library = pytest.mark.parametrize("library", LIBRARIES)


def run_tests_of(library: str, env: dict[str, str]) -> None:
    """Runs a library's tests without the packages of the template's tests."""
    folder = f"tests/{library}"
    alone = (f"--confcutdir={folder}", "-p", "no:cacheprovider")
    run(
        *("uv", "run", "--no-sync", "pytest", "--quiet", "-n", "4", "--dist", "loadfile"),
        *(*alone, folder),
        cwd=ROOT,
        env=env,
    )


OTHERS = [each for each in PYTHONS if each != f"{sys.version_info.major}.{sys.version_info.minor}"]


@each_library
@pytest.mark.parametrize("python", OTHERS)
def test_a_librarys_tests_pass_on_each_python(library: str, python: str) -> None:
    run_tests_of(library, libraries.locked(python))


@each_library
def test_a_librarys_tests_pass_with_the_oldest_dependencies_it_allows(library: str) -> None:
    run_tests_of(library, libraries.oldest(OLDEST))
