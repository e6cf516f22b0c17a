"""Releases of the template in a repository of the tests' own, as a team's services follow them.

The first is the working tree as it is, the second what a next version might change.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from .baking import ROOT
from .uv import run

FIRST = "v1.0.0"
SECOND = "v1.1.0"
PROJECT = "{{cookiecutter.project_slug}}"
PROGRAMS = Path(sys.executable).parent  # where cookiecutter, cruft and copier are installed


class Release(NamedTuple):
    """A repository of the template, and the two versions that it is tagged with."""

    repository: Path
    first: str = FIRST
    second: str = SECOND


def git(folder: Path, *arguments: str | Path) -> str:
    """What git printed."""
    return run("git", *arguments, cwd=folder).strip()


def commit(folder: Path, message: str) -> None:
    """Commits all that is in the folder."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)


def working_tree(folder: Path) -> None:
    """Puts the files of the template here, in place of those that are there: what git would see."""
    listed = run("git", "ls-files", "-z", "-co", "--exclude-standard", cwd=ROOT).split("\0")
    for old in folder.iterdir():
        if old.name != ".git":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def version(folder: Path, tag: str) -> None:
    """Gives the template the version of a tag."""
    path = folder / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        re.sub('^version = ".*"', f'version = "{tag[1:]}"', text, flags=re.MULTILINE),
        encoding="utf-8",
    )


def append(path: Path, text: str) -> None:
    """Adds text to the end of a file."""
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def release(folder: Path) -> Release:
    """A repository with the history of this one, if there is any, and two releases on top."""
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "main")
    if (ROOT / ".git").exists():
        git(folder, "pull", "--quiet", ROOT, "HEAD")
    working_tree(folder)
    version(folder, FIRST)
    commit(folder, "feat: first release")
    git(folder, "tag", FIRST)
    project = folder / PROJECT
    version(folder, SECOND)
    append(project / "README.md", "\n## News\n\nThe second release says more.\n")
    append(project / ".gitignore", "news/\n")
    (project / "NEWS.md").write_text("News of {{ cookiecutter.project_slug }}.\n", encoding="utf-8")
    (project / ".editorconfig").unlink()
    commit(folder, "feat: second release")
    git(folder, "tag", SECOND)
    return Release(folder)


def program(name: str, *arguments: str | Path, cwd: Path) -> str:
    """What a program beside this Python printed: cookiecutter, cruft or copier."""
    return run(PROGRAMS / name, *arguments, cwd=cwd)


def modes(folder: Path) -> dict[str, int]:
    """The permissions of every file and folder below this one."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mode
        for path in folder.rglob("*")
        if ".git" not in path.parts
    }


def fails(*command: str | Path, cwd: Path) -> str:
    """What a command printed that must fail."""
    done = subprocess.run(
        command, cwd=cwd, env=os.environ, text=True, capture_output=True, check=False
    )
    assert done.returncode != 0
    return done.stdout + done.stderr
