"""How pages of the documentation are parsed: their steps, and the errors in them."""

from pathlib import Path

import pytest

from .pages import Commands, Edit, follow, steps

FILE = "Write `a/b.txt`:\n\n```text-like\none\ntwo\n```\n"
ENV = {"PORT": "8000"}


def change(text: str) -> Edit:
    """A change of the file that `FILE` writes."""
    return Edit("a/b.txt", "diff", text)


def test_a_block_is_written_into_the_file_named_before_it(tmp_path: Path) -> None:
    [step] = steps(FILE)

    assert isinstance(step, Edit)
    step.apply(tmp_path)
    assert (tmp_path / "a/b.txt").read_text() == "one\ntwo\n"


def test_a_diff_changes_the_file(tmp_path: Path) -> None:
    Edit("a/b.txt", "python", "one\ntwo\n\nthree\n").apply(tmp_path)

    change(" one\n-two\n+2\n\n@@\n+after nothing\n three\n").apply(tmp_path)

    assert (tmp_path / "a/b.txt").read_text() == "one\n2\n\nafter nothing\nthree\n"


@pytest.mark.parametrize(
    "text", [" four\n", " one\n two\n three\n+4\n", " same\n+x\n", "no sign\n"]
)
def test_a_diff_must_match_exactly_once(tmp_path: Path, text: str) -> None:
    Edit("a/b.txt", "python", "one\ntwo\n\nthree\nsame\nsame\n").apply(tmp_path)

    with pytest.raises(AssertionError):
        change(text).apply(tmp_path)


@pytest.mark.parametrize(
    "page",
    [
        "```python\nfor_no_file()\n```\n",
        "Text.\n\n```json\n{}\n```\n",
        "```console\nnothing to run\n```\n",
        "<!-- keeps running -->\n```console\n$ one\n$ two\n```\n",
    ],
)
def test_an_unknown_block_is_refused(page: str) -> None:
    with pytest.raises(AssertionError):
        list(steps(page))


def test_a_block_that_is_only_shown_is_no_step() -> None:
    page = (
        "```text\na\n```\n\n<!-- not run: why -->\n```console\n$ b\n```\n\n"
        "<!-- not run: why -->\n```python\nc\n```\n"
    )

    assert list(steps(page)) == []


@pytest.mark.parametrize(
    ("command", "printed", "mark"),
    [
        ("echo one; echo two", ["one", "two"], ""),
        ("echo one; echo and; echo two", ["o...e", "two"], ""),
        ("echo 'a (b) [c] 5 s'", ["a (b) [c] ... s"], ""),
        ("echo one; false", ["one"], "fails"),
        ("true", [], ""),
    ],
)
def test_commands_with_the_shown_output_pass(
    tmp_path: Path, command: str, printed: list[str], mark: str
) -> None:
    Commands([command], printed, mark).run(tmp_path, {})


@pytest.mark.parametrize(
    ("commands", "printed", "mark"),
    [
        (["false"], [], ""),
        (["false", "true"], [], ""),
        (["false | true"], [], ""),
        (["true"], [], "fails"),
        (["echo one"], ["two"], ""),
        (["echo two; echo one"], ["one", "two"], ""),
        (["echo one more"], ["one"], ""),
    ],
)
def test_commands_with_another_output_fail(
    tmp_path: Path, commands: list[str], printed: list[str], mark: str
) -> None:
    with pytest.raises(AssertionError):
        Commands(commands, printed, mark).run(tmp_path, {})


def test_a_page_is_followed_from_top_to_bottom(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{FILE}\n```console\n$ cat a/b.txt\none\ntwo\n$ echo $PORT\n8000\n```\n")

    follow(page, tmp_path, ENV)

    page.write_text("```console\n$ cat a/b.txt\nthree\n```\n")
    with pytest.raises(AssertionError):
        follow(page, tmp_path, ENV)
