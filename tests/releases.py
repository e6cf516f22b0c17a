"""Releases of the template in a test repository, for services that follow them.

The first release is the current working tree, the second has changes of a possible next version.
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
    """A repository of the template, with the tags of its two versions."""

    repository: Path
    first: str = FIRST
    second: str = SECOND


def git(folder: Path, *arguments: str | Path) -> str:
    """The output of Git."""
    return run("git", *arguments, cwd=folder).strip()


def commit(folder: Path, message: str) -> None:
    """Commits all files in the folder."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)


def working_tree(folder: Path) -> None:
    """Replaces the files here by those of the template that Git tracks or would track."""
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
    """The output of a program next to this Python: cookiecutter, cruft or copier."""
    return run(PROGRAMS / name, *arguments, cwd=cwd)


def modes(folder: Path) -> dict[str, int]:
    """The permissions of every file and folder below this one."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mode
        for path in folder.rglob("*")
        if ".git" not in path.parts
    }


def fails(*command: str | Path, cwd: Path) -> str:
    """The output of a command that must fail."""
    done = subprocess.run(
        command, cwd=cwd, env=os.environ, text=True, capture_output=True, check=False
    )
    assert done.returncode != 0
    return done.stdout + done.stderr
