"""Every answer gives a project that compiles, lints, formats and type-checks by its own rules."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from .baking import bake, contents, describe, single_values_and_pairs
from .checks import FOLDER, as_checked, complaints, knowing_types
from .releases import append, fails
from .rendering import Renderer, pairwise_sets
from .uv import run

Check = Callable[[Mapping[str, str]], None]


@pytest.fixture(scope="module")
def check(tools: Path) -> Check:
    """Checks a project with its own tools and rules, once for all bakes of the same sources."""
    checked = set()

    def check(files: Mapping[str, str]) -> None:
        if (seen := as_checked(files)) in checked:
            return
        for name, text in files.items():
            if name.endswith(".py"):
                compile(text, name, "exec", dont_inherit=True)
        with knowing_types() as known:
            assert complaints(files, FOLDER / "project", tools, *known) == ""
        checked.add(seen)

    return check


def is_heavy(answers: dict[str, Any]) -> bool:
    """Whether the answers differ from lighter ones in little that a check could find.

    mypy reads the types of all packages again for each Python, which takes ten seconds.
    """
    return len(answers) > 1 or "python_version" in answers


EVERY_PAIR = [
    pytest.param(
        answers, marks=[pytest.mark.heavy] if is_heavy(answers) else [], id=describe(answers)
    )
    for answers in single_values_and_pairs()
]


@pytest.fixture(scope="module", params=EVERY_PAIR)
def files(request: pytest.FixtureRequest, renderer: Renderer) -> dict[str, str]:
    """The files for every single value and every pair of values of the choices."""
    return renderer.render(request.param)


SETS = [*pairwise_sets(), {"package_name": "x"}]


@pytest.mark.parametrize(
    "sets",
    [SETS[:1] + SETS[-5:], pytest.param(SETS[1:-5], marks=pytest.mark.heavy)],
    ids=["a few", "the others"],
)
def test_the_renderer_gives_the_same_files_as_cookiecutter(
    sets: list[dict[str, Any]], renderer: Renderer, tmp_path: Path
) -> None:
    for number, answers in enumerate(sets):
        baked = contents(bake(tmp_path / str(number), **answers))
        rendered = {name: text.encode() for name, text in renderer.render(answers).items()}

        assert (answers, baked.keys()) == (answers, rendered.keys())
        assert [name for name in baked if baked[name] != rendered[name]] == []


def test_a_bake_passes_its_own_checks(files: dict[str, str], check: Check) -> None:
    check(files)


@pytest.mark.heavy
@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_a_bake_passes_the_type_checks_of_other_platforms(
    platform: str, project: Path, tools: Path
) -> None:
    # Not with systemd, which only Linux has, and whose sockets Windows lacks.
    with knowing_types(platform) as known:
        run(tools / "mypy", *known, cwd=project)


# Faults of lint, of types and of format, and a use of a library against its types.
FAULT = "\n\nimport os\ncount: int = 'one'\n"
MISUSE = "\n\nfrom upstreams import Upstream\n\nUpstream(1)\n"


def test_a_teams_tools_find_faults_in_its_code_but_none_inside_the_libraries(
    tools: Path, tmp_path: Path
) -> None:
    """A newer ruff or mypy may find more, but a team does not edit the libraries."""
    project = bake(tmp_path)
    lint = (tools / "ruff", "check", "--no-cache", "--output-format=concise")
    form = (tools / "ruff", "format", "--check", "--no-cache")
    for module in ("flask_asgi/_memo.py", "upstreams/_errors.py"):
        append(project / "src" / module, FAULT)

    run(*lint, cwd=project)
    run(*form, cwd=project)
    with knowing_types() as known:
        run(tools / "mypy", *known, cwd=project)

    append(project / "src/price_service/parts.py", FAULT)
    append(project / "src/price_service/logs.py", MISUSE)
    assert "src/price_service/parts.py:" in fails(*lint, cwd=project)
    assert "src/price_service/parts.py:" in fails(*form, cwd=project)
    with knowing_types() as known:
        found = fails(tools / "mypy", *known, cwd=project)
    assert "src/price_service/parts.py:" in found
    assert "src/price_service/logs.py:" in found
    assert "src/upstreams/" not in found


def test_a_bake_holds_no_markup_and_plain_lines(files: dict[str, str]) -> None:
    for name, text in files.items():
        assert "cookiecutter." not in text, name
        assert "jinja:" not in text, name
        assert "\r" not in text, name
        assert text == "" or text.endswith("\n"), name
        assert not text.endswith("\n\n"), name


@pytest.mark.parametrize(
    "length", [50, *(pytest.param(each, marks=pytest.mark.heavy) for each in (1, 22))]
)
def test_a_package_name_of_any_length_passes_the_checks(
    length: int, check: Check, renderer: Renderer
) -> None:
    check(renderer.render({"package_name": "x" * length}))


def test_the_same_answers_give_the_same_bytes(tmp_path: Path) -> None:
    first = bake(tmp_path / "first")
    second = bake(tmp_path / "second")

    assert contents(first) == contents(second)


def test_the_project_contains_the_answers_unchanged(tmp_path: Path) -> None:
    answers = {
        "project_name": "Ann's “Äpfel” & <Birnen> 🍏",
        "project_description": r'Says "\n" for { 7 * 7 }, $HOME, %s and <b>100 %</b>.',
        "full_name": 'Ann "Q" O\'Neil \\ אן',
        "email": "ann+service@example.com",
    }
    project = bake(tmp_path, **answers)

    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert answers["project_description"] == metadata["description"]
    assert [{"name": answers["full_name"], "email": answers["email"]}] == metadata["authors"]
    assert answers["full_name"] in (project / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("license_name", "words"),
    [
        ("MIT", "Permission is hereby granted, free of charge"),
        ("Apache-2.0", "END OF TERMS AND CONDITIONS"),
        ("BSD-3-Clause", "Neither the name of the copyright holder"),
        ("Proprietary", "All rights reserved."),
    ],
)
def test_the_project_has_the_chosen_licence(license_name: str, words: str, tmp_path: Path) -> None:
    project = bake(tmp_path, license=license_name, full_name="Ann")

    text = (project / "LICENSE").read_text(encoding="utf-8")
    assert words in text
    assert "Ann" in text
    # The licence of the libraries does not depend on the answer.
    readme = (project / "README.md").read_text(encoding="utf-8")
    assert "under [MIT-0](src/upstreams/LICENSE)" in readme
    for library in ("flask_asgi", "flask_guards", "typed_views", "upstreams"):
        text = (project / "src" / library / "LICENSE").read_text(encoding="utf-8")
        assert text.startswith("MIT No Attribution\n")
        assert "shall be included" not in text
        assert "Ann" not in text


def test_a_bake_without_the_example_does_not_mention_it(tmp_path: Path) -> None:
    project = bake(tmp_path, project_name="Plain", include_example=False)

    service = contents(project / "src" / "plain")
    service["README.md"] = (project / "README.md").read_bytes()
    assert [name for name, data in service.items() if b"prices" in data.lower()] == []
