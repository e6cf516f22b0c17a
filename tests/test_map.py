"""The documents for maintainers name every file, and name no missing file."""

import re

from scripts import test_times

from .baking import ROOT
from .test_links import tracked

SOURCES = ROOT / "{{cookiecutter.project_slug}}" / "src"
SERVICE = "{{cookiecutter.package_name}}"
TESTS = ROOT / "tests"


def rows(text: str) -> list[list[str]]:
    """The rows of the tables of a page, without their heads."""
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:2] == "| "]
    return [row for row in cells if not set("".join(row)) <= set("-| ")]


def test_the_life_of_a_request_names_existing_modules() -> None:
    text = (ROOT / "docs/life-of-a-request.md").read_text(encoding="utf-8")
    table = rows(text)

    for number, where, modules in table[1:]:
        places = where.replace("`", "").split(", ")
        folders = [SOURCES / (SERVICE if place == "the service" else place) for place in places]
        for module in re.findall(r"`([\w/]+\.py)`", modules):
            assert any((folder / module).is_file() for folder in folders), (number, module)
    diagram = text.partition("```text\n")[2].partition("```")[0]
    assert {row[0] for row in table[1:]} == set(re.findall(r"[│─] (\d+[ab]?)  ", diagram))


def test_the_boxes_of_the_diagram_are_closed() -> None:
    text = (ROOT / "docs/life-of-a-request.md").read_text(encoding="utf-8")
    diagram = text.partition("```text\n")[2].partition("```")[0]
    lines = [line for line in diagram.splitlines() if line[:1] in {"┌", "│", "└"}]

    assert lines
    assert {(len(line), line[-1] in "┐│┘") for line in lines} == {(78, True)}


def test_the_glossary_is_sorted_and_defines_each_word_once() -> None:
    words = [row[0] for row in rows((ROOT / "docs/glossary.md").read_text("utf-8"))][1:]

    assert words == sorted(set(words), key=str.lower)


def test_the_readme_of_the_tests_names_every_module() -> None:
    text = (TESTS / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `((?:[\w]+/)?test_\w+\.py)` \| (.+) \| (.+) \|$", text, re.MULTILINE)
    modules = {path.relative_to(TESTS).as_posix() for path in tracked("tests/*test_*.py")}

    assert sorted(name for name, *_ in named) == sorted(modules)


REPORT = """<testsuites><testsuite>
<testcase classname="tests.upstreams.test_a" name="test_1" time="1.5" />
<testcase classname="tests.upstreams.test_a.TestMore" name="test_2" time="2.0" />
<testcase classname="tests.test_b" name="test_3" time="400" />
</testsuite></testsuites>"""


def test_times_of_a_report_are_written_into_the_rows_of_its_modules() -> None:
    modules = {"test_b.py": "?", "upstreams/test_a.py": "2 s", "test_c.py": "", "test_d.py": "?"}
    page = "".join(f"| `{module}` | A | {time} |\n" for module, time in modules.items())

    heavy = {"test_b.py": 90.0, "test_c.py": 3601.0}
    written = test_times.with_times(page, test_times.times(REPORT), heavy)

    modules["test_b.py"], modules["test_c.py"] = "10 min, heavy: 2 min", "heavy: 1 h"
    modules["upstreams/test_a.py"] = "5 s"
    assert written == "".join(f"| `{module}` | A | {time} |\n" for module, time in modules.items())
