"""Every set of options gives a project that passes its own checks; some also run their tests."""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import pytest

from .baking import CHOICES, OLDEST, ROOT, bake, describe
from .checks import as_checked, complaints
from .rendering import Renderer, all_sets, pairwise_sets
from .roundtrip import READERS
from .uv import on_python, run

FOLDERS = ROOT / ".cache" / "option-sets"  # kept for mypy's cache

pytestmark = pytest.mark.heavy


def sources(files: Mapping[str, str]) -> str:
    """The sources of the service that a project's tests run."""
    seen = sorted((name, text) for name, text in files.items() if name.startswith("src/"))
    return hashlib.sha256(repr(seen).encode()).hexdigest()


def test_every_set_of_options_passes_the_static_checks(
    tools: Path, record_property: Callable[[str, object], None]
) -> None:
    renderer = Renderer()
    texts: set[tuple[str, str]] = set()
    projects: dict[str, tuple[str, dict[str, str]]] = {}
    count = 0
    for count, answers in enumerate(all_sets(), start=1):  # noqa: B007 (the last is the number)
        files = renderer.render(answers)
        texts |= files.items()
        projects.setdefault(as_checked(files), (describe(answers), files))
    for name, text in texts:
        READERS.get(Path(name).suffix, str)(text)
        assert "cookiecutter." not in text, name
        assert "jinja:" not in text, name
        assert text == "" or (text[-1] == "\n" != text[-2:-1]), name
    workers = os.cpu_count() or 1
    folders: SimpleQueue[Path] = SimpleQueue()
    for number in range(workers):
        folders.put(FOLDERS / str(number) / "project")

    def check(project: tuple[str, dict[str, str]]) -> str:
        folder = folders.get()
        try:
            wrong = complaints(project[1], folder, tools)
        finally:
            folders.put(folder)
        return f"{project[0]}: {wrong}" if wrong else ""

    with ThreadPoolExecutor(workers) as pool:
        wrong = list(filter(None, pool.map(check, projects.values())))

    record_property(
        "covered",
        f"{count} sets of {len(CHOICES)} options rendered: {len(texts)} different files were read,"
        f" {len(projects)} different projects linted, formatted and type-checked",
    )
    assert wrong == []


def test_a_pairwise_set_of_options_passes_its_own_tests(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    # Each file of tests runs once with each service, so an answer's tests run with all services.
    renderer = Renderer()
    tested: set[tuple[str, str]] = set()
    sets = pairwise_sets()
    projects = 0
    without = set()
    for answers in sets:
        files = renderer.render(answers)
        service = sources(files)
        new = [
            name
            for name, text in files.items()
            if name.startswith("tests/test_") and (service, text) not in tested
        ]
        if not new:
            continue
        try:
            env = on_python(answers.get("python_version", OLDEST))
        except pytest.skip.Exception:
            without.add(answers["python_version"])
            continue
        project = bake(tmp_path, **answers)
        run("uv", "sync", "--locked", cwd=project, env=env)
        run("uv", "run", "--no-sync", "pytest", *new, cwd=project, env=env)
        shutil.rmtree(project)
        tested |= {(service, files[name]) for name in new}
        projects += 1
    lacking = f"; no Python {', '.join(sorted(without))} here" if without else ""
    record_property(
        "covered",
        f"{len(sets)} sets in which every pair of options meets: {projects} projects with tests"
        f" that had not yet run passed them{lacking}",
    )
