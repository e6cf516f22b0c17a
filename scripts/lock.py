"""Refreshes the template's lock file: bakes, locks with uv, and writes the lock back as a template.

`make lock` keeps the versions that still fit; `make lock UPGRADE=1` takes the newest.
`docs/decisions/shipped-lock-file.md` says why the template ships a lock file.
"""

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.baking import ROOT, bake

TEMPLATE_LOCK = ROOT / "{{cookiecutter.project_slug}}" / "uv.lock"

# The parts of a lock file that depend on answers; the rest is the same for every bake.
MARKUP = {
    'requires-python = ">=3.11"\n': 'requires-python = ">={{ cookiecutter.python_version }}"\n',
    'name = "price-service"\n': 'name = "{{ cookiecutter.project_slug }}"\n',
}

# The packages that only some answers need. Each is named twice, and has an entry.
CONDITIONS = {"zizmor": 'cookiecutter.ci == "github"'}


def with_markup(lock: str) -> str:
    """The lock file of a default bake as a template.

    Raises:
        ValueError: a line that depends on an answer does not occur the expected number of times.
    """
    for line, template in MARKUP.items():
        if lock.count(line) != 1:
            message = f"expected {line!r} once in uv.lock, found it {lock.count(line)} times"
            raise ValueError(message)
        lock = lock.replace(line, template)
    for package, condition in CONDITIONS.items():
        lock = with_condition(lock, package, condition)
    return lock


def with_condition(lock: str, package: str, condition: str) -> str:
    """The lock file in which a package depends on an answer.

    Raises:
        ValueError: it is not named exactly twice, or does not have exactly one entry.
    """
    named = rf' +\{{ name = "{package}".*\n'
    entry = rf'\n?\[\[package\]\]\nname = "{package}"\n(?:.+\n)+'
    marked, count = re.subn(
        f"^({named}|{entry})",
        lambda found: f"# jinja: if {condition}\n{_kept(found[0])}# jinja: endif\n",
        lock,
        flags=re.MULTILINE,
    )
    if count != 3:  # noqa: PLR2004 - named twice, and its entry
        message = f"expected {package} 3 times in uv.lock, found it {count} times"
        raise ValueError(message)
    return marked


def _kept(text: str) -> str:
    """The text with an empty first line protected: Jinja would drop it."""
    return text if text.startswith(" ") else '{{ "" }}\n' + text.lstrip("\n")


def main(uv_arguments: list[str]) -> None:
    """Bakes with every default, runs `uv lock` with these arguments, writes the template's lock."""
    with TemporaryDirectory() as folder:
        project = bake(Path(folder))
        subprocess.run(["uv", "lock", *uv_arguments], cwd=project, check=True)
        lock = (project / "uv.lock").read_text(encoding="utf-8")
    TEMPLATE_LOCK.write_text(with_markup(lock), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
