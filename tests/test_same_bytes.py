"""A bake has the same bytes and modes with every tool and on every machine."""

import json
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.version import Version

from scripts import copier

from .baking import CHOICES, ROOT, bake, contents
from .releases import PROGRAMS, Release, fails, git, modes, program

# The files in which cruft and Copier keep the answers for an update.
ADDED = {".cruft.json", ".copier-answers.yml"}

ANSWERS: list[dict[str, str]] = [
    {},
    {name: str(values[-1]) for name, values in CHOICES.items()}
    | {
        "project_name": 'Ann\'s "{{ 7 * 7 }}" \\ 🍏',
        "project_slug": "anns",
        "full_name": "{% x %}",
    },
]


Tree = tuple[dict[str, bytes], dict[str, int]]


def tree(project: Path) -> Tree:
    """The bytes and the modes of a project, without the tool's own files."""
    files = {name: data for name, data in contents(project).items() if name not in ADDED}
    return files, {name: mode for name, mode in modes(project).items() if name not in ADDED}


def from_cookiecutter(source: str | Path, folder: Path, answers: dict[str, str]) -> Path:
    """A bake with Cookiecutter from a folder, a repository or an archive."""
    given = [f"{name}={value}" for name, value in answers.items()]
    program("cookiecutter", str(source), "--no-input", "-o", folder, *given, cwd=folder)
    return next(path for path in folder.iterdir() if path.is_dir())


def from_zip(release: Release, folder: Path, answers: dict[str, str]) -> Path:
    """A bake from an archive without modes, like GitHub's archives."""
    archive = folder / "template.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.mkdir("template-1.1.0")
        for name in git(release.repository, "ls-files", "-z").split("\0")[:-1]:
            zipped.writestr(f"template-1.1.0/{name}", (release.repository / name).read_bytes())
    return from_cookiecutter(archive, folder, answers)


def from_cruft(release: Release, folder: Path, answers: dict[str, str]) -> Path:
    """A bake with `cruft create`."""
    context = json.dumps(answers)
    url = release.repository.as_uri()
    program("cruft", "create", url, "--no-input", "--extra-context", context, cwd=folder)
    return next(path for path in folder.iterdir() if path.is_dir())


def from_copier(release: Release, folder: Path, answers: dict[str, str]) -> Path:
    """A bake with Copier, which gets the project's folder."""
    data = [part for name, value in answers.items() for part in ("--data", f"{name}={value}")]
    source = f"git+{release.repository.as_uri()}"
    program("copier", "copy", "--trust", "--defaults", *data, source, "service", cwd=folder)
    return folder / "service"


WAYS: dict[str, Callable[[Release, Path, dict[str, str]], Path]] = {
    "a repository": lambda release, folder, answers: from_cookiecutter(
        f"git+{release.repository.as_uri()}", folder, answers
    ),
    "an archive": from_zip,
    "cruft": from_cruft,
    "copier": from_copier,
}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(ANSWERS[0], id="defaults"),
        pytest.param(ANSWERS[1], id="other answers", marks=pytest.mark.heavy),
    ],
)
def baked(
    request: pytest.FixtureRequest, release: Release, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, str], Tree]:
    """Answers, and their bake with Cookiecutter from a folder."""
    folder = tmp_path_factory.mktemp("plain")
    return request.param, tree(from_cookiecutter(release.repository, folder, request.param))


@pytest.mark.parametrize(
    "way",
    [pytest.param(way, marks=[pytest.mark.heavy] if way.startswith("a") else []) for way in WAYS],
)
def test_every_tool_and_source_gives_the_same_bake(
    way: str, baked: tuple[dict[str, str], Tree], release: Release, tmp_path: Path
) -> None:
    answers, expected = baked

    assert expected == tree(WAYS[way](release, tmp_path, answers))


def test_no_file_of_a_bake_is_executable(project: Path) -> None:
    executable = [path for path, mode in modes(project).items() if mode & 0o111]

    assert [path for path in executable if (project / path).is_file()] == []


def test_copier_refuses_with_the_same_sentence(release: Release, tmp_path: Path) -> None:
    command = (
        "copy",
        "--trust",
        "--defaults",
        "--data",
        "project_slug=../../x",
        release.repository,
    )

    printed = fails(PROGRAMS / "copier", *command, "service", cwd=tmp_path)

    assert "project_slug '../../x' does not have the right form; accepted is 1 to 50" in printed
    assert list(tmp_path.iterdir()) == []


def test_copier_and_cookiecutter_ask_the_same_questions() -> None:
    written = (ROOT / "copier.yml").read_text(encoding="utf-8")

    assert copier.copier_yml() == written, "run `make copier`"


def test_a_question_that_copier_does_not_support_is_refused() -> None:
    with pytest.raises(TypeError, match="ports has a default"):
        copier.question("ports", {"http": 80}, "Which ports?")


def test_the_project_names_the_version_of_its_template(project: Path) -> None:
    template = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    settings = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))

    assert template["version"] == settings["tool"][template["name"]]["version"]


def test_the_version_is_the_newest_in_the_changelog_or_a_later_unreleased_one() -> None:
    template = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    sections = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## [")[1:]
    released = [section.partition("]")[0] for section in sections[1:]]
    unreleased = sections[0].partition("\n")[2].strip()
    version = Version(template["version"])

    assert sections[0].startswith("Unreleased]")
    assert sorted(map(Version, released), reverse=True) == list(map(Version, released))
    if unreleased:
        assert version.is_devrelease
        assert all(version > Version(earlier) for earlier in released)
    else:
        assert released[0] == template["version"]


def test_a_bake_does_not_contain_its_time_or_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("USER", "somebody-else")
    folder = tmp_path / "with spaces, ünïcödé and 🍏"
    folder.mkdir()

    here = bake(folder)

    assert tree(bake(tmp_path / "plain")) == tree(here)
    assert not any(str(tmp_path).encode() in data for data in contents(here).values())
