"""No answer breaks a file, leaves its folder or runs: it is kept unchanged, or refused."""

import os
import re
import sys
import unicodedata
from collections.abc import Mapping
from itertools import chain, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import cookiecutter_flask_async_answers as answers

from .baking import ROOT, on_command_line
from .hostile import ACCEPTED, ACCEPTED_TEXTS, REFUSED, REFUSED_NAMES
from .roundtrip import TAME, Service

EXAMPLES = int(os.environ.get("EXAMPLES", "150"))  # sets of answers; each needs a bake

# The questions that accept the same texts.
FREE = ("project_name", "project_description", "full_name")

SENTENCE = r"""Error: (\w+) ['"].* .+; accepted is .+\."""


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """The template without the files that hold no free text."""
    return Service(tmp_path_factory.mktemp("service"))


def refused(service: Service, answers: Mapping[str, str]) -> str:
    """The refused answer, or an empty text if the bake keeps all answers unchanged.

    The bake goes into a deep folder of an empty folder, so that a file outside of it is noticed.
    """
    with TemporaryDirectory() as folder:
        output = Path(folder, "one", "two", "three")
        output.mkdir(parents=True)
        data = service.data(output, answers)
        created = set(Path(folder).rglob("*")) - {output, *output.parents}
        if isinstance(data, str):
            refusal = re.fullmatch(SENTENCE, data)
            assert refusal, data
            assert data.isprintable()
            assert data.isascii()
            assert created == set()
            return refusal[1]
        project = output / answers["project_slug"]
        assert all(path.is_relative_to(project) for path in created)
        assert service.expected(answers) == data
        return ""


def test_the_table_of_hostile_answers_is_long() -> None:
    assert len({(name, value) for name in TAME for value in ACCEPTED[name] + REFUSED[name]}) >= 200
    assert TAME.keys() == ACCEPTED.keys() == REFUSED.keys()


def dealt(place: int, name: str) -> list[str]:
    """The accepted answers to a question of free text; each shared text goes to one question."""
    return [
        text
        for number, text in enumerate(ACCEPTED[name])
        if text not in ACCEPTED_TEXTS or number % len(FREE) == place
    ]


@pytest.mark.parametrize(
    "everywhere",
    [
        pytest.param(False, id="each text once"),
        # Three times as many bakes.
        pytest.param(True, id="each text in each question", marks=pytest.mark.heavy),
    ],
)
def test_the_accepted_answers_of_the_table_are_kept_unchanged(
    service: Service, *, everywhere: bool
) -> None:
    few = {name: dealt(place, name) for place, name in enumerate(FREE)}
    table = ACCEPTED if everywhere else ACCEPTED | few
    assert {*chain(*table.values())} == {*chain(*ACCEPTED.values())}
    for values in zip_longest(*table.values()):
        given_here = zip(table, values, strict=True)
        answers = TAME | {name: value for name, value in given_here if value is not None}
        assert (answers, "") == (answers, refused(service, answers))


@pytest.mark.parametrize("variable", sorted(REFUSED))
def test_the_refused_answers_of_the_table_are_named(variable: str, service: Service) -> None:
    for value in REFUSED[variable]:
        assert (value, variable) == (value, refused(service, TAME | {variable: value}))


def writable(text: str) -> bool:
    """Whether a text is visible and can be written; independent of the code in `answers`."""
    hidden = {"Cc", "Cs", "Zl", "Zp"}
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return text.strip() == text != "" and not any(
        unicodedata.category(character) in hidden
        or unicodedata.bidirectional(character) in turning
        or character in "\u061c\u200e\u200f\ufeff\ufffe\uffff"
        for character in text
    )


# Any text, and texts of characters with a meaning in some language.
texts = st.text(st.characters(), max_size=120) | st.lists(
    st.sampled_from([*ACCEPTED_TEXTS, *"\\\"'`{}%$#<>&*_[]|~:-=!@ \t\n"]), max_size=12
).map("".join)
good_texts = texts.map(str.strip).filter(writable)
names = st.from_regex(r"[a-z](-?[a-z0-9]){1,30}", fullmatch=True)
given_names = st.one_of(names, names, names, st.sampled_from(REFUSED_NAMES), texts)


@settings(
    max_examples=EXAMPLES,
    suppress_health_check=list(HealthCheck),
)
@given(
    free=st.fixed_dictionaries(
        {
            "project_name": st.one_of(good_texts.map(lambda text: text[:100].strip()), texts),
            "project_description": st.one_of(good_texts, texts),
            "full_name": good_texts.map(lambda text: text[:100].strip()),
        }
    ),
    named=st.fixed_dictionaries(
        {},
        optional={
            "project_slug": given_names,
            "package_name": given_names.map(lambda name: name.replace("-", "_")),
            "email": st.sampled_from(ACCEPTED["email"] + REFUSED["email"]) | texts,
            "github_username": st.sampled_from(ACCEPTED["github_username"]) | texts,
        },
    ),
)
@example(free=dict.fromkeys(("project_name", "project_description", "full_name"), '"""'), named={})
def test_all_answers_at_once_are_kept_unchanged_or_one_is_named(
    free: dict[str, str], named: dict[str, str], service: Service
) -> None:
    longest = {"project_name": 100, "project_description": 500, "full_name": 100}
    bad = {name for name, text in free.items() if not writable(text) or len(text) > longest[name]}

    wrong = refused(service, TAME | free | named)

    assert wrong in bad | named.keys() if wrong else not bad


# Each value needs a process.
@pytest.mark.parametrize(
    "number", [0, *(pytest.param(each, marks=pytest.mark.heavy) for each in (1, 2, 3))]
)
def test_the_command_line_gives_the_same_refusals(number: int, tmp_path: Path) -> None:
    hooks = "yes" if number % 2 else "no"  # the refusal comes before the hooks
    output = tmp_path / "one" / "two" / "three"
    output.mkdir(parents=True)
    sample = {name: REFUSED[name][len(REFUSED[name]) * number // 4] for name in sorted(REFUSED)}
    for name, value in sample.items():
        if "\0" in value or not value.isprintable():
            continue  # impossible on a command line
        arguments = ("--no-input", "-o", output, "--accept-hooks", hooks, f"{name}={value}")
        done = on_command_line(ROOT, *arguments, cwd=tmp_path)

        assert (value, 1) == (value, done.returncode)
        assert re.fullmatch(SENTENCE + "\n", done.stderr), done.stderr
        assert [output] == [path for path in tmp_path.rglob("*") if not any(path.iterdir())]


@settings(max_examples=2 * EXAMPLES)
@given(name=texts | st.sampled_from(REFUSED_NAMES) | st.from_regex(r"[a-z]{1,4}( [a-z0-9]+)*"))
@example(name="Flask")
@example(name="日本")
@example(name="2nd Shop")
@example(name="x" * 100)
@example(name="x" * 49 + " y")
@example(name="A" * 39 + " python")
def test_the_suggested_slug_and_package_are_accepted(name: str) -> None:
    suggested = answers.slug(name)

    assert answers.problem({"project_slug": suggested}) == ""
    assert answers.problem({"package_name": suggested.replace("-", "_")}) == ""


def test_every_reserved_name_has_another_suggestion() -> None:
    taken = {
        *sys.stdlib_module_names,
        *answers.dependencies(),
        *(name for names in answers.TAKEN.values() for name in names),
    }
    for name in taken:
        assert answers.problem({"project_slug": answers.slug(name)}) == ""
        assert answers.slug(name) != "service"


def test_an_import_name_that_the_service_needs_is_refused(tools: Path, service: Service) -> None:
    libraries = next(tools.parent.rglob("site-packages"))
    modules = {
        path.stem.split(".")[0]
        for path in libraries.iterdir()
        if path.suffix not in {".dist-info", ".pth"}
    }
    allowed = [
        name
        for name in sorted(modules)
        if re.fullmatch("[a-z](_?[a-z0-9])*", name)
        and refused(service, TAME | {"package_name": name}) == ""
    ]

    assert allowed == []
