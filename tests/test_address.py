"""The repository's address is one constant, which a fork changes everywhere at once."""

import re
import shutil
from pathlib import Path

import pytest

from scripts import address

from .baking import ROOT
from .releases import git

PLACEHOLDER = re.compile(r"your-org|YOUR-ORG")


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    """A small repository with files that name the address, and a binary file."""
    for name in ("pyproject.toml", "README.md", "docs/teams.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "picture.png").write_bytes(b"\0" + address.address().encode())
    git(tmp_path, "init", "--quiet")
    return tmp_path


def test_the_placeholder_stands_only_in_the_address() -> None:
    """`make address` lists every other place, and changes it."""
    if not (ROOT / ".git").exists():
        pytest.skip("an archive has no files that Git tracks")
    own = {"tests/test_address.py", "tests/test_workbench.py"}
    for path in address.files(ROOT):
        text = path.read_text(encoding="utf-8").replace(address.address(), "")
        found = PLACEHOLDER.search(text)
        assert not found or path.relative_to(ROOT).as_posix() in own, path


def test_a_fork_changes_every_place(fork: Path) -> None:
    before = address.places(address.address(fork), fork)

    address.move("https://git.example.com/acme/services/flask-async", fork)

    assert address.address(fork) == "https://git.example.com/acme/services/flask-async"
    assert {place.partition(":")[0] for place in before} == {
        *("README.md", "docs/teams.md", "pyproject.toml"),
    }
    assert before == address.places(address.address(fork), fork)
    assert address.places("your-org", fork) == []
    assert (fork / "picture.png").read_bytes().endswith(b"/cookiecutter-flask-async")


@pytest.mark.parametrize(
    "new", ["", "acme", "http://x.example/a", "https://x.example", "https://x y/a"]
)
def test_an_invalid_address_is_refused_in_one_sentence(new: str, fork: Path) -> None:
    with pytest.raises(SystemExit, match=r"^NEW is .*; accepted is an address like https://"):
        address.move(new, fork)

    assert address.places("your-org", fork)


def test_the_readme_names_the_changes_of_a_fork() -> None:
    assert "`make address NEW=https://...`" in (ROOT / "README.md").read_text(encoding="utf-8")
