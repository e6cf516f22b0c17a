"""A bake's own tests pass in its own environment, on every Python, and its lock file is current."""

import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from .baking import CHOICES, OLDEST, PYTHONS, bake, describe
from .uv import on_python, run, run_tests


# Tests that pass on the oldest Python rarely fail on a newer one.
@pytest.mark.parametrize(
    "python",
    [pytest.param(each, marks=[] if each == OLDEST else pytest.mark.heavy) for each in PYTHONS],
)
def test_the_tests_of_a_default_bake_pass(python: str, tmp_path: Path) -> None:
    run_tests(bake(tmp_path), on_python(python))


@pytest.mark.heavy
def test_the_tests_of_a_bake_pass_with_the_oldest_dependencies_it_allows(tmp_path: Path) -> None:
    project = bake(tmp_path)

    run_tests(project, on_python(OLDEST), "--resolution", "lowest-direct")


# A hundred times, eight threads end at the same time, each with a greenlet.
THREADS_THAT_END = """
import faulthandler, sys, threading, weakref

from greenlet import getcurrent

faulthandler.dump_traceback_later(30, exit=True)

def freed(reference):
    pass

def end_together(barrier):
    references.append(weakref.ref(getcurrent(), freed))
    barrier.wait()

references = []
for _ in range(100):
    barrier = threading.Barrier(8)
    threads = [threading.Thread(target=end_together, args=[barrier]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
assert sys.gettrace(), "not measured"
"""


def test_measuring_the_coverage_of_threads_ends(tools: Path, tmp_path: Path) -> None:
    project = bake(tmp_path)
    (project / "tests/threads_that_end.py").write_text(THREADS_THAT_END, encoding="utf-8")

    measured = ["coverage", "run", "--source=tests", "-m", "tests.threads_that_end"]
    run(tools / "python", "-m", *measured, cwd=project, env={"PYTHONPATH": str(project / "src")})


# A lock file depends on the name, on the Python and on the optional packages, each independently.
@pytest.mark.parametrize(
    "answers",
    [
        {"project_name": "Aaa"},
        {"project_name": "Zzz"},
        *({"python_version": python} for python in PYTHONS),
        *({"ci": ci} for ci in CHOICES["ci"][1:]),
    ],
    ids=describe,
)
def test_the_lock_file_fits_every_bake(answers: dict[str, str], tmp_path: Path) -> None:
    env = on_python(answers.get("python_version", OLDEST))
    project = bake(tmp_path, **answers)

    run("uv", "lock", "--check", cwd=project, env=env)


def test_the_lock_file_names_one_public_index(project: Path) -> None:
    lock = tomllib.loads((project / "uv.lock").read_text(encoding="utf-8"))
    indexes = {package["source"].get("registry") for package in lock["package"]} - {None}

    assert len(indexes) == 1
    index = urlsplit(indexes.pop())
    assert (index.scheme, index.username, index.port) == ("https", None, None)
