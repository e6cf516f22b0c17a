"""A change of the template reaches a service that a team has edited, and the edits stay."""

import hashlib
import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from .baking import ROOT, contents
from .releases import PROGRAMS, Release, append, commit, fails, git, program
from .test_layout import LIBRARIES

pytestmark = pytest.mark.heavy

# Bakes of old versions: the commit of the template, and the digest of the bake. Each release adds
# an entry.
OLD_BAKES: list[dict[str, str]] = json.loads((ROOT / "tests/old_bakes.json").read_text("utf-8"))

NAME = 'Ann\'s "Prices" {{ 7 * 7 }} \\ 🍏'


def with_cruft(release: Release, folder: Path, version: str) -> Path:
    """A service, baked with cruft."""
    context = json.dumps({"project_name": NAME, "project_slug": "prices", "license": "Apache-2.0"})
    arguments = ("--checkout", version, "--extra-context", context)
    program("cruft", "create", str(release.repository), "--no-input", *arguments, cwd=folder)
    return folder / "prices"


def with_copier(release: Release, folder: Path, version: str) -> Path:
    """A service, baked with Copier."""
    answers = (f"project_name={NAME}", "project_slug=prices", "license=Apache-2.0")
    data = [part for answer in answers for part in ("--data", answer)]
    arguments = ("--trust", "--defaults", "--vcs-ref", version, *data)
    program("copier", "copy", *arguments, str(release.repository), "prices", cwd=folder)
    return folder / "prices"


def update_cruft(service: Path) -> None:
    """The update that a person confirms."""
    fails(PROGRAMS / "cruft", "check", cwd=service)
    program("cruft", "update", "--skip-apply-ask", cwd=service)
    program("cruft", "check", cwd=service)


def update_copier(service: Path) -> None:
    """The update that a person confirms."""
    program("copier", "update", "--trust", "--defaults", cwd=service)


Tool = tuple[Callable[[Release, Path, str], Path], Callable[[Path], None]]

TOOLS: dict[str, Tool] = {
    "cruft": (with_cruft, update_cruft),
    "copier": (with_copier, update_copier),
}


@pytest.fixture(params=TOOLS)
def tool(
    request: pytest.FixtureRequest,
) -> Tool:
    """The two functions of a tool: to make a service and to update it."""
    return TOOLS[request.param]


def edit(service: Path) -> dict[str, bytes]:
    """Edits a service as a team does; returns the files that only the team changes."""
    git(service, "init", "--quiet")
    commit(service, "feat: start from the template")
    package = service / "src/prices"
    append(package / "problems.py", "\n\ndef ours() -> int:\n    return 1\n")
    append(package / "__init__.py", "\nOURS = True\n")
    readme = service / "README.md"
    readme.write_text(readme.read_text("utf-8").replace("## Run it", "Ours.\n\n## Run it"), "utf-8")
    (package / "orders.py").write_text('"""Ours."""\n', encoding="utf-8")
    (package / "views/home.py").unlink()
    (service / "news").mkdir()
    (service / "news/kept.txt").write_text("ours", encoding="utf-8")
    commit(service, "feat: work on it")
    names = ("src/prices/problems.py", "src/prices/__init__.py", "src/prices/orders.py")
    return {name: contents(service)[name] for name in (*names, "news/kept.txt")}


def files(service: Path) -> dict[str, bytes]:
    """The files of a service, without those that cruft and Git keep."""
    return {
        name: data
        for name, data in contents(service).items()
        if not name.startswith(".git/") and name != ".cruft.json"
    }


def digest(service: Path) -> str:
    """A digest of all names and bytes of a service."""
    return hashlib.sha256(repr(sorted(files(service).items())).encode()).hexdigest()


def template_version(service: Path) -> str:
    """The version of the template in a service's settings."""
    settings = tomllib.loads((service / "pyproject.toml").read_text(encoding="utf-8"))
    return str(settings["tool"]["cookiecutter-flask-async"]["version"])


def test_an_update_applies_the_change_and_keeps_the_edits(
    tool: Tool,
    release: Release,
    tmp_path: Path,
) -> None:
    make, update = tool
    service = make(release, tmp_path, release.first)
    assert template_version(service) == "1.0.0"
    ours = edit(service)
    before = files(service)

    update(service)

    updated = files(service)
    readme = updated["README.md"].decode()
    assert template_version(service) == "1.1.0"
    assert readme.count("Ours.") == 1
    assert readme.endswith("The second release says more.\n")
    assert updated["NEWS.md"] == b"News of prices.\n"
    assert b"news/" in updated[".gitignore"]
    assert ours == {name: updated[name] for name in ours}
    assert updated.keys() - before.keys() == {"NEWS.md"}
    assert before.keys() - updated.keys() == {".editorconfig"}
    assert [name for name in updated if name.endswith((".rej", ".orig", ".set-aside"))] == []
    assert not any(b"<<<<<<<" in data for data in updated.values())


def test_an_update_keeps_the_answers(
    tool: Tool,
    release: Release,
    tmp_path: Path,
) -> None:
    make, update = tool
    service = make(release, tmp_path, release.first)
    git(service, "init", "--quiet")
    commit(service, "feat: start from the template")
    (tmp_path / "new").mkdir()
    fresh = files(make(release, tmp_path / "new", release.second))

    update(service)

    assert fresh == files(service)


def test_a_conflict_is_shown_and_keeps_the_teams_edits(
    tool: Tool,
    release: Release,
    tmp_path: Path,
) -> None:
    make, update = tool
    service = make(release, tmp_path, release.first)
    git(service, "init", "--quiet")
    append(service / "README.md", "\n## Ours\n\nOur last words.\n")
    commit(service, "feat: start from the template")

    update(service)

    readme = (service / "README.md").read_text(encoding="utf-8")
    assert "Our last words." in readme
    assert "The second release says more." in readme or (service / "README.md.rej").exists()


@pytest.mark.parametrize("old", OLD_BAKES, ids=lambda old: old["version"])
def test_an_old_versions_bake_is_reproducible_and_can_be_updated(
    old: dict[str, str], release: Release, tmp_path: Path
) -> None:
    """With cruft only: Copier needs a `copier.yml`, which old versions lack."""
    try:
        git(release.repository, "cat-file", "-e", old["commit"])
    except pytest.fail.Exception:
        pytest.skip("this clone has no such commit: it is shallow, or an archive")
    create = ("create", str(release.repository), "--no-input", "--checkout")
    program("cruft", *create, old["commit"], cwd=tmp_path)
    service = tmp_path / "price-service"
    assert old["sha256"] == digest(service)
    git(service, "init", "--quiet")
    (service / "src/price_service/orders.py").write_text('"""Ours."""\n', encoding="utf-8")
    commit(service, "feat: start from the template")
    (tmp_path / "new").mkdir()
    program("cruft", *create, release.second, cwd=tmp_path / "new")

    update_cruft(service)

    updated = files(service)
    assert updated.pop("src/price_service/orders.py") == b'"""Ours."""\n'
    assert files(tmp_path / "new" / "price-service") == updated


def before_the_libraries(release: Release) -> str:
    """The commit whose bakes have the engine and the client in the service's package."""
    old = next(each for each in OLD_BAKES if each["version"] == "before the libraries")
    try:
        git(release.repository, "cat-file", "-e", old["commit"])
    except pytest.fail.Exception:
        pytest.skip("this clone has no such commit: it is shallow, or an archive")
    return old["commit"]


def test_modules_that_became_libraries_move_and_a_teams_modules_stay(
    tool: Tool, release: Release, tmp_path: Path
) -> None:
    make, update = tool
    service = make(release, tmp_path, before_the_libraries(release))
    ours = edit(service)
    (tmp_path / "new").mkdir()
    fresh = files(make(release, tmp_path / "new", release.second))

    update(service)

    updated = files(service)
    package = {name for name in updated if name.startswith("src/prices/")}
    folders = tuple(f"src/{name}/" for name in LIBRARIES)
    libraries = {name for name in fresh if name.startswith(folders)}
    assert package <= {*fresh, *ours}
    assert libraries
    assert {name: updated.get(name) for name in libraries} == {n: fresh[n] for n in libraries}
    assert updated["src/prices/orders.py"] == ours["src/prices/orders.py"]
    assert b"def ours()" in updated["src/prices/problems.py"]
    assert "src/prices/views/home.py" not in updated


def test_cruft_keeps_an_edit_of_a_module_that_became_a_library(
    release: Release, tmp_path: Path
) -> None:
    """Copier loses the edit, as the changelog warns: it takes a moved file for a deleted file."""
    service = with_cruft(release, tmp_path, before_the_libraries(release))
    git(service, "init", "--quiet")
    append(service / "src/prices/bridge.py", "\n\ndef ours_in_the_engine() -> int:\n    return 1\n")
    commit(service, "feat: change the engine")

    update_cruft(service)

    holders = [name for name, data in files(service).items() if b"ours_in_the_engine" in data]
    assert len(holders) == 1  # the module's new path, or its old path


def test_an_update_does_not_overwrite_uncommitted_work(
    tool: Tool,
    release: Release,
    tmp_path: Path,
) -> None:
    make, _ = tool
    service = make(release, tmp_path, release.first)
    git(service, "init", "--quiet")
    commit(service, "feat: start from the template")
    append(service / "README.md", "\nNot committed.\n")
    before = files(service)
    updates = {
        "with_cruft": (PROGRAMS / "cruft", "update", "--skip-apply-ask"),
        "with_copier": (PROGRAMS / "copier", "update", "--trust", "--defaults"),
    }

    fails(*updates[make.__name__], cwd=service)

    assert before == files(service)
