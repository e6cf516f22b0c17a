"""Edits of a bake are carried back to the template, or refused if their place is unclear."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment, StrictUndefined

from scripts import workbench
from scripts.workbench import Answers, CannotCarryError, carried, carry_back

from .releases import append
from .rendering import PROJECT

ANSWERS = {
    "package_name": "price_service",
    "project_slug": "price-service",
    "project_name": "Price Service",
    "project_description": "Says prices.",
    "full_name": "Your Name",
    "email": "you@example.com",
    "github_username": "your-org",
}
OTHERS = {name: f"other_{name}" for name in ANSWERS}

TEMPLATE = """\
# {{ cookiecutter.project_name }}
import {{ cookiecutter.package_name }}
# jinja: if cookiecutter.email
first = 1
second = 2
# jinja: endif
# jinja: for number in range(2)
counted = {{ number }}
# jinja: endfor
third = 3
inline = {% if cookiecutter.email %}1{% else %}2{% endif %}
fourth = "{{ cookiecutter.project_name }} of {{ cookiecutter.full_name }}"
# jinja: if not cookiecutter.email
never = 0
# jinja: endif
last = 4
"""


def renderer(answers: dict[str, str]) -> Callable[[str], str]:
    """Renders with Cookiecutter's options for this template."""
    environment = Environment(
        line_statement_prefix="# jinja:",
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 (as Cookiecutter has it)
    )
    return lambda text: environment.from_string(text).render(cookiecutter=answers)


render = renderer(ANSWERS)
BAKED = render(TEMPLATE)


def edited(text: str, template: str = TEMPLATE) -> str:
    return carried(template, render(template), text, render, Answers(ANSWERS))


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        ("first = 1\n", "first = 10\n", ("first = 1\n", "first = 10\n")),
        ("first = 1\n", "", ("first = 1\n", "")),
        ("first = 1\n", "first = 1\nmore = 1\n", ("first = 1\n", "first = 1\nmore = 1\n")),
        ("first = 1\nsecond = 2\n", "both\n", ("first = 1\nsecond = 2\n", "both\n")),
        ("third = 3\n", "third = 3\n# price_service\n", None),
        ("third = 3\n", "three = 3\nprice-service\n", None),
        ("last = 4\n", "last = 5", ("last = 4\n", "last = 5")),
        ("last = 4\n", "last = 4\nmore = 5\n", ("last = 4\n", "last = 4\nmore = 5\n")),
        (
            '"Price Service of Your Name"',
            '"Your Name: Price Service"',
            (
                "{{ cookiecutter.project_name }} of {{ cookiecutter.full_name }}",
                "{{ cookiecutter.full_name }}: {{ cookiecutter.project_name }}",
            ),
        ),
        (
            "import price_service\n",
            "import price_service.app\n",
            ("{{ cookiecutter.package_name }}\n", "{{ cookiecutter.package_name }}.app\n"),
        ),
    ],
)
def test_a_plain_edit_is_carried_back(was: str, now: str, expected: tuple[str, str] | None) -> None:
    text = BAKED.replace(was, now)
    assert text != BAKED

    template = edited(text)

    assert text == render(template)
    if expected:
        assert template == TEMPLATE.replace(*expected)
    else:
        assert "price" not in template
    other = renderer(OTHERS)(template)
    assert "price" not in other
    assert "rice Service" not in other


@pytest.mark.parametrize(
    ("was", "now", "why"),
    [
        ("counted = 1\n", "counted = 9\n", "line 6 takes the place of what Jinja's logic made"),
        ("second = 2\n", "second = 2\nmore = 3\n", "line 5 is added where a condition begins"),
        ("third = 3\n", "third = {{ 3 }}\n", "line 7 holds what Jinja would take for markup"),
        ("third = 3\n", "# jinja: raw\n", "line 7 holds what Jinja would take for markup"),
        ("third = 3\n", "# by Your Name\n", "line 7 holds the answer 'Your Name'"),
        ("third = 3\n", "price_services\n", "line 7 has 'price_service', an answer, within"),
        ("inline = 1\n", "inline = 3\n", "line 8 takes the place of what Jinja's logic made"),
        ("inline = 1\n", "", "line 8 takes the place of what Jinja's logic made"),
        (" of Your Name", "", "line 9 drops or repeats the answer 'Your Name'"),
        ("of Your Name", "of Your Name and Your Name", "line 9 drops or repeats the answer"),
    ],
)
def test_an_ambiguous_edit_is_refused(was: str, now: str, why: str) -> None:
    text = BAKED.replace(was, now)
    assert text != BAKED

    with pytest.raises(CannotCarryError, match=why):
        edited(text)


def test_a_bake_of_an_older_template_is_refused() -> None:
    with pytest.raises(CannotCarryError, match="not what the template gives now"):
        carried(TEMPLATE + "more\n", BAKED, BAKED + "ours\n", render, Answers(ANSWERS))


def test_markup_that_spans_lines_is_refused() -> None:
    with pytest.raises(CannotCarryError, match="its markup spans lines"):
        edited("2\n", template="{{ 1 +\n 0 }}\n")


LINES = st.sampled_from(
    ["a\n", "b\n", "\n", "price_service\n", "# price-service/x\n", *BAKED.splitlines(keepends=True)]
)


def logic(template: str) -> list[str]:
    return [line for line in template.splitlines() if "# jinja:" in line or "{%" in line]


@settings(max_examples=200)
@given(data=st.data())
def test_a_carried_edit_renders_the_edited_text(data: st.DataObject) -> None:
    lines = BAKED.splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(lines)))
        lines[place : place + data.draw(st.integers(0, 3))] = data.draw(st.lists(LINES, max_size=3))
    text = "".join(lines)

    try:
        template = edited(text)
    except CannotCarryError:
        return

    assert text == render(template)
    # An edit keeps the lines of other answers.
    assert logic(TEMPLATE) == logic(template)
    assert "never = 0\n" in template


@settings(max_examples=100)
@given(text=st.text(st.sampled_from("ab{}#%\n\u2028\r"), max_size=40))
def test_a_new_file_is_carried_back_exactly_or_refused(text: str) -> None:
    try:
        template = edited(text, template="")
    except CannotCarryError:
        return

    assert text == render(template)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workbench, baked once."""
    folder = tmp_path_factory.mktemp("workbench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workbench, "WORKBENCH", folder)
        workbench.main("workbench")
    return folder


@pytest.fixture
def bench(fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the workbench for one test."""
    shutil.copytree(fresh, tmp_path / "workbench")
    monkeypatch.setattr(workbench, "WORKBENCH", tmp_path / "workbench")
    return tmp_path / "workbench" / "price-service"


def ends_with_a_condition(bench: Path, path: Path) -> bool:
    name = path.relative_to(bench).as_posix()
    template = PROJECT / name.replace("price_service", "{{cookiecutter.package_name}}")
    return template.read_text(encoding="utf-8").endswith("# jinja: endif\n")


def test_edits_new_files_and_removed_files_are_carried_back(bench: Path) -> None:
    package = bench / "src" / "price_service"
    every = [*package.rglob("*.py"), *(bench / "tests").rglob("*.py"), bench / "pyproject.toml"]
    sources = [path for path in every if not ends_with_a_condition(bench, path)]
    assert len(every) - len(sources) <= 3
    for path in sources:
        append(path, "# of price_service\n")
    (bench / ".editorconfig").unlink()
    (package / "orders.py").write_text('"""Orders of price_service."""\n', encoding="utf-8")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "orders.pyc").touch()

    found = {path.relative_to(PROJECT).as_posix(): text for path, text in carry_back().items()}

    new = found.pop("src/{{cookiecutter.package_name}}/orders.py")
    assert new == '"""Orders of {{ cookiecutter.package_name }}."""\n'
    assert found.pop(".editorconfig") is None
    assert len(found) == len(sources)
    for name, text in found.items():
        before = (PROJECT / name).read_text(encoding="utf-8")
        assert text == before + "# of {{ cookiecutter.package_name }}\n"


def test_nothing_is_carried_back_while_one_edit_is_refused(bench: Path) -> None:
    append(bench / "src/price_service/app.py", "# plain\n")
    append(bench / "LICENSE", "Ours.\n")
    append(bench / "compose.yaml", "# {% if %}\n")

    with pytest.raises(SystemExit) as refused:
        carry_back()

    licence, compose, last = str(refused.value).splitlines()
    assert licence.startswith("LICENSE: line ")
    assert re.fullmatch(r"compose.yaml: line \d+ holds what Jinja .*compose.yaml by hand.", compose)
    assert last == "Nothing was carried back."


def test_a_new_file_does_not_replace_a_file_of_other_answers(bench: Path) -> None:
    (bench / ".gitlab-ci.yml").write_text("ours: 1\n", encoding="utf-8")

    with pytest.raises(SystemExit, match=r"gitlab-ci.yml: is in the template already, for other"):
        carry_back()


def test_a_carried_edit_is_written_once(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def carry_back() -> dict[Path, str | None]:
        return {tmp_path / "new" / path: str(now) for path, _, now in workbench.changes()}

    monkeypatch.setattr(workbench, "carry_back", carry_back)
    monkeypatch.setattr(workbench, "ROOT", tmp_path)
    append(bench / "README.md", "Ours.\n")

    workbench.main("carry-back")

    assert "Ours." in (tmp_path / "new" / "README.md").read_text(encoding="utf-8")
    assert list(workbench.changes()) == []


def test_a_new_bake_does_not_overwrite_edits(bench: Path) -> None:
    append(bench / "README.md", "Ours.\n")

    with pytest.raises(SystemExit, match="has edits: run `make carry-back`"):
        workbench.main("workbench")

    assert (bench / "README.md").read_text(encoding="utf-8").endswith("Ours.\n")
