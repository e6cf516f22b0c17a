"""Lists the places with this repository's address, and changes it everywhere, for a fork.

`make address` lists the places. `make address NEW=https://git.example.com/acme/flask-async` writes
that address to each of them. `[project.urls]` in pyproject.toml holds the correct address.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from scripts.baking import ROOT

ACCEPTED = re.compile(r"https://[\w.-]+(/[\w.~-]+)+")


def address(root: Path = ROOT) -> str:
    """The address of the repository."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return str(settings["project"]["urls"]["Source"])


def files(root: Path) -> Iterator[Path]:
    """Every text file that Git tracks or would track.

    Raises:
        CalledProcessError: the folder is not a Git repository.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout.decode()
    for name in sorted({*filter(None, listed.split("\0"))}):
        path = root / name
        if path.is_file() and b"\0" not in path.read_bytes():
            yield path


def places(text: str, root: Path = ROOT) -> list[str]:
    """Each line that contains a text, as `file:line`."""
    return [
        f"{path.relative_to(root).as_posix()}:{number}"
        for path in files(root)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if text in line
    ]


def move(new: str, root: Path = ROOT) -> None:
    """Replace the current address everywhere by another.

    Raises:
        SystemExit: the new address is not that of a repository.
    """
    if not ACCEPTED.fullmatch(new):
        sys.exit(f"NEW is {new!r}; accepted is an address like {address(root)}")
    old = address(root)
    for path in files(root):
        text = path.read_bytes().decode()
        if old in text:
            path.write_bytes(text.replace(old, new).encode())


if __name__ == "__main__":
    if sys.argv[1:]:
        move(sys.argv[1])
    print("\n".join([address(), *places(address())]))
