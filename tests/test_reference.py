"""The reference pages match the current code."""

import subprocess
import sys
from pathlib import Path

import pytest

from .baking import OLDEST, ROOT

FOLDER = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, written again."""
    if f"{sys.version_info[0]}.{sys.version_info[1]}" != OLDEST:
        pytest.skip(f"the pages have the signatures of Python {OLDEST}")
    folder = tmp_path_factory.mktemp("reference")
    subprocess.run([sys.executable, "-m", "scripts.reference", folder], cwd=ROOT, check=True)
    return folder


def test_the_pages_match_the_code(written: Path) -> None:
    committed = {path.name for path in FOLDER.glob("*.md")} - {"README.md"}

    assert {path.name for path in written.glob("*.md")} == committed
    for page in written.glob("*.md"):
        said = (FOLDER / page.name).read_text(encoding="utf-8")
        assert page.read_text(encoding="utf-8") == said, "run `make reference`"


def test_the_index_lists_every_page() -> None:
    index = (FOLDER / "README.md").read_text(encoding="utf-8")

    for page in FOLDER.glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index


def test_a_page_is_the_same_in_every_run(written: Path) -> None:
    for page in written.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for accident in (" at 0x", "<function", "<class", "~", "/tmp", str(ROOT)):  # noqa: S108
            assert accident not in text
