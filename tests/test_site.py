"""The documentation site builds without a warning, and loads nothing from other hosts."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from .baking import ROOT

PAGES = [path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")]


class Loaded(HTMLParser):
    """The addresses that a browser loads for a page without a click."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = re.findall(r"(?:url\(|@import )([^);]*)", page)
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the addresses that an element loads."""
        given = dict(attrs)
        is_loaded = tag == "link" and given.get("rel") not in {"index", "search", "next", "prev"}
        self.found += [given.get("src") or "", (is_loaded and given.get("href")) or ""]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as by `make docs`."""
    folder = tmp_path_factory.mktemp("site")
    flags = ["--quiet", "--fail-on-warning", "--keep-going", "--fresh-env"]
    command = [sys.executable, "-m", "sphinx", *flags, "-c", "docs", ".", str(folder)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.mark.heavy
def test_every_page_is_on_the_site_and_in_its_search(site: Path) -> None:
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    found = json.loads(index.removeprefix("Search.setIndex(").removesuffix(")"))["docnames"]

    for page in PAGES:
        assert (site / page).with_suffix(".html").is_file()
        assert page.with_suffix("").as_posix() in found
    assert 'url=docs/README.html"' in (site / "index.html").read_text(encoding="utf-8")


@pytest.mark.heavy
def test_nothing_is_loaded_from_other_hosts(site: Path) -> None:
    texts = [*site.rglob("*.html"), *site.rglob("*.css")]

    loaded = [url for path in texts for url in Loaded(path.read_text(encoding="utf-8")).found]

    assert any(".css" in url for url in loaded)
    assert [url for url in loaded if re.match(r"['\"]?(https?:)?//", url)] == []


@pytest.mark.heavy
def test_the_site_has_a_dark_mode(site: Path) -> None:
    page = (site / "docs" / "README.html").read_text(encoding="utf-8")

    assert "theme-toggle" in page
    assert "prefers-color-scheme: dark" in page


def test_every_page_has_one_title_which_comes_first() -> None:
    for page in PAGES:
        text = re.sub(r"<!--.*?-->\n*", "", (ROOT / page).read_text("utf-8"), flags=re.DOTALL)
        assert text.startswith("# "), page
        without_code = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        assert len(re.findall(r"^# ", without_code, re.MULTILINE)) == 1, page


def test_the_parser_finds_every_address_that_a_browser_loads() -> None:
    page = (
        '<link rel="stylesheet" href="a.css"><link rel="next" href="b.html"><a href="c"></a>'
        "<img src='d.png'><script src=\"e.js\"></script><style>@import f.css; p {x: url(g)}</style>"
    )

    assert {"a.css", "d.png", "e.js", "f.css", "g"} == {*Loaded(page).found} - {""}
