"""Every link in the Markdown of the repository and of a service has a target: no network."""

import re
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from .baking import ROOT, bake

DECISIONS = ROOT / "docs" / "decisions"
ROW = re.compile(
    r"^\| (\d+) \| \[(.+)\]\((\S+\.md)\) \| (\d{4}-\d\d-\d\d) \| (.+) \|$", re.MULTILINE
)
STATUS = re.compile(r"accepted|superseded(?: in part)? by \[(\d+)\]\((\S+\.md)\)")


def tracked(*patterns: str) -> list[Path]:
    """The tracked files outside of the template's folder that match."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    )
    paths = (path for path in listed.stdout.split("\0") if path and path[:2] != "{{")
    return [ROOT / path for path in paths if (ROOT / path).is_file()]


def tokens(page: Path) -> Iterator[Token]:
    """The tokens of a page, including those inside paragraphs."""
    for token in MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8")):
        yield token
        yield from token.children or []


def links(page: Path) -> list[str]:
    """The addresses that a page links to or shows."""
    return [
        str(token.attrs.get("href") or token.attrs.get("src"))
        for token in tokens(page)
        if token.type in {"link_open", "image"}
    ]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, in the form of code hosts."""
    every = list(tokens(page))
    found: set[str] = set()
    for before, token in pairwise(every):
        if before.type == "heading_open":
            shown = "".join(
                child.content
                for child in token.children or []
                if child.type in {"text", "code_inline"}
            )
            slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
            numbered = (f"{slug}-{number}" for number in range(1, 100))
            found.add(slug if slug not in found else next(n for n in numbered if n not in found))
    return found


def broken(page: Path, folder: Path) -> Iterator[str]:
    """The broken links of a page, and the links out of the folder."""
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        is_there = target.exists() and target.is_relative_to(folder.resolve())
        if not is_there or (anchor and anchor not in anchors(target)):
            yield f"{page.relative_to(folder)}: {link}"


def test_no_link_of_the_repository_is_broken() -> None:
    pages = tracked("*.md")

    assert ROOT / "docs/README.md" in pages
    assert [link for page in pages for link in broken(page, ROOT)] == []


@pytest.mark.parametrize("include_example", [True, False])
def test_no_link_of_a_service_is_broken(tmp_path: Path, *, include_example: bool) -> None:
    service = bake(tmp_path, deployment="all", include_example=include_example)

    assert [link for page in service.rglob("*.md") for link in broken(page, service)] == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `page`, and more\n\n[a](page.md) [b](#a-page-and-more) [c](https://example.com)\n\n"
        "[d](other.md) [e](#more) [f](../x) ![g](h.svg)\n\n| table |\n|---|\n| [i](j.md) |\n"
    )

    said = [link.partition(": ")[2] for link in broken(page, tmp_path)]
    assert said == ["other.md", "#more", "../x", "h.svg", "j.md"]


def test_every_page_that_a_comment_names_exists() -> None:
    named = re.compile(r"\bdocs/(?:decisions|how-to|reference|tutorial)/[\w./-]*\w\.md")
    texts = tracked("*.py", "*.toml", "*.yml", "Makefile", "*.md", "*.json")

    for path in texts:
        for name in named.findall(path.read_text(encoding="utf-8")):
            assert (ROOT / name).is_file(), f"{path.relative_to(ROOT)} names {name}"


def test_the_index_of_decisions_matches_the_pages() -> None:
    rows = ROW.findall((DECISIONS / "README.md").read_text(encoding="utf-8"))

    assert sorted(row[2] for row in rows) == sorted(
        path.name for path in DECISIONS.glob("*.md") if path.name != "README.md"
    )
    assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
    assert [row[3] for row in rows] == sorted(row[3] for row in rows)
    for number, title, name, date, status in rows:
        text = (DECISIONS / name).read_text(encoding="utf-8")
        assert text.startswith(f"# {title}\n\n*Decision {number} of {date}: {status}.*\n\n"), name


def test_a_superseded_decision_names_its_successor() -> None:
    rows = ROW.findall((DECISIONS / "README.md").read_text(encoding="utf-8"))
    by_number = {number: name for number, _, name, _, _ in rows}

    for number, *_, status in rows:
        said = STATUS.fullmatch(status)
        assert said, status
        if said[1]:
            assert by_number[said[1]] == said[2]
            assert int(said[1]) > int(number)
