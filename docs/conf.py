"""Builds the site from the Markdown of the repository, which stays plain: `make docs`.

`docs/decisions/site-generator.md` says why it is Sphinx.
"""

import re
from pathlib import Path
from urllib.parse import unquote

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]

project = "cookiecutter-flask-async"
copyright = ""  # noqa: A001 - Sphinx's name; LICENSE speaks
extensions = ["myst_parser"]
root_doc = "docs/README"
include_patterns = ["docs/**", "CHANGELOG.md", "CONTRIBUTING.md"]

myst_heading_anchors = 3  # links to headings, as code hosts make them
suppress_warnings = ["myst.header"]  # a page may begin its parts with any level

html_theme = "furo"  # light and dark, and it loads nothing from other hosts
html_title = project
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_static_path: list[str] = []
pygments_style = "friendly"
pygments_dark_style = "monokai"

# The order of the pages. It is added here, since Markdown has no such list.
PARTS = {
    "Learn": ["tutorial/README", "how-to/README"],
    "Look up": ["reference/README", "glossary", "life-of-a-request"],
    "Use": ["teams", "extensions", "flask-compatibility"],
    "Judge": ["benchmarks", "robustness", "hostile-input", "decisions/README"],
    "Carry on": ["../CONTRIBUTING", "../CHANGELOG"],
}


LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]+)[^)]*\)")


def leave_out_links_away(app: Sphinx, page: str, source: list[str]) -> None:
    """Makes text of links to folders, and to Markdown that is not on the site.

    Code hosts show both. Of a link to nothing Sphinx warns, as it is left as it is.
    """
    folder = Path(app.srcdir, page).parent

    def shown(link: re.Match[str]) -> str:
        target = (folder / unquote(link[2])).resolve()
        is_elsewhere = target.suffix == ".md" and app.env.path2doc(target) not in app.env.found_docs
        return link[1] if target.is_dir() or (target.is_file() and is_elsewhere) else link[0]

    source[0] = LINK.sub(shown, source[0])


def add_contents(_app: Sphinx, page: str, source: list[str]) -> None:
    """Adds a table of contents, for the side of the site, to pages that have pages below them."""
    if page == root_doc:
        for caption, pages in PARTS.items():
            source[0] += contents(pages, f":caption: {caption}\n")
    elif page.endswith("/README"):  # the index of a folder: in the order of its links
        source[0] += contents(list(dict.fromkeys(re.findall(r"\]\(([\w.-]+)\.md\)", source[0]))))


def contents(pages: list[str], options: str = "") -> str:
    """The directive that lists these pages."""
    lines = "\n".join(pages)
    return f"\n\n```{{toctree}}\n:hidden:\n{options}\n{lines}\n```\n"


def add_front_page(app: Sphinx, error: Exception | None) -> None:
    """Writes the page that a web server shows for the folder: it leads to the first one."""
    if error is None and app.builder.format == "html":
        target = f"{root_doc}.html"
        Path(app.outdir, "index.html").write_text(
            f'<!doctype html><title>{project}</title><meta http-equiv="refresh" content="0; '
            f'url={target}"><a href="{target}">{project}</a>\n',
            encoding="utf-8",
        )


def setup(app: Sphinx) -> None:
    """Registers the functions above."""
    app.add_lexer("mermaid", TextLexer)  # code hosts draw it; here it is shown
    app.connect("source-read", leave_out_links_away)
    app.connect("source-read", add_contents)
    app.connect("build-finished", add_front_page)
