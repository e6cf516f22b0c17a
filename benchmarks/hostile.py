"""Bakes templates with the hostile answers of the tests, and prints the outcome of each answer.

    python -m benchmarks.hostile PATH_OF_A_TEMPLATE ...

A text must be unchanged in every TOML, YAML, JSON and Python file with the tame answer; a name must
only break no file. A template is known by the name of its folder. The programs of its hooks do not
run: PATH has only a `uv` that does nothing. It prints a Markdown table, and on the standard error
every answer that the template does not handle.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.hostile import ACCEPTED, REFUSED
from tests.roundtrip import READERS, replaced

TEXTS = ("project_name", "project_description", "full_name")

# The names of our questions in each template; a missing question gets no answer.
OURS = (*TEXTS, "project_slug", "email", "github_username")
QUESTIONS: dict[str, dict[str, str]] = {
    "cookiecutter-flask-async": {name: name for name in OURS},
    "cookiecutter-pypackage": {
        **{name: name for name in OURS},
        "project_slug": "package_name",
        "project_description": "project_short_description",
    },
    "cookiecutter-django": {
        "project_name": "project_name",
        "project_slug": "project_slug",
        "project_description": "description",
        "full_name": "author_name",
        "email": "email",
    },
    "cookie": {
        "project_slug": "project_name",
        "project_description": "project_short_description",
        "full_name": "full_name",
        "email": "email",
        "github_username": "org",
    },
    "cookiecutter-flask": {
        **{name: name for name in OURS},
        "project_slug": "app_name",
        "project_description": "project_short_description",
    },
}

# Answers without a meaning in any language; in capitals, to differ from values derived from them.
TAME = {
    "project_name": "TameProject",
    "project_slug": "tameslug",
    "project_description": "TameDescription.",
    "full_name": "TamePerson",
    "email": "TameEmail@example.org",
    "github_username": "TameUser",
}

OUTCOMES = {
    "exact": "comes out exactly",
    "refused": "refused, nothing written",
    "traceback": "ends in a traceback",
    "changed": "comes out changed",
    "broken": "breaks a file",
    "escaped": "writes outside its folder",
}

SECONDS = 600  # enough for a busy machine


def inputs(template: str) -> Iterator[tuple[str, str]]:
    """Each question, by our name, with a hostile answer; a text goes to one question only."""
    asked = QUESTIONS[template]
    free = [name for name in TEXTS if name in asked]
    texts = dict.fromkeys((*ACCEPTED["project_name"], *REFUSED["project_name"]))
    for number, text in enumerate(texts):
        yield free[number % len(free)], text
    for name in ("project_slug", "email", "github_username"):
        for text in dict.fromkeys((*ACCEPTED[name], *REFUSED[name])) if name in asked else ():
            yield name, text


def passable(text: str) -> bool:
    """Whether a command line can hold it, and no tool takes it for a network path."""
    surrogate = any("\ud800" <= character <= "\udfff" for character in text)
    return "\0" not in text and not surrogate and not text.startswith("//")


def bake(template: Path, output: Path, answers: Mapping[str, str]) -> tuple[int, str]:
    """The exit code and the output."""
    names = QUESTIONS[template.name]
    given = [f"{names[name]}={value}" for name, value in answers.items() if name in names]
    with TemporaryDirectory() as home:
        programs = Path(home, "programs")
        programs.mkdir()
        (programs / "uv").write_text("#!/bin/sh\n", encoding="utf-8")
        (programs / "uv").chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-m", "cookiecutter", template, "--no-input", "-o", output, *given],
            env={"PATH": str(programs), "HOME": home, "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def data(project: Path, slug: str) -> dict[str, Any]:
    """The data of a project's files, by path; None for a file that does not parse."""
    found: dict[str, Any] = {}
    named = {slug, slug.lower().replace("-", "_")}
    for path in sorted(filter(Path.is_file, project.rglob("*"))):
        parts = path.relative_to(project).parts
        name = "/".join(TAME["project_slug"] if part in named else part for part in parts)
        try:
            if path.suffix in {".json", ".py", ".toml", ".yaml", ".yml"}:
                found[name] = READERS[path.suffix](path.read_text(encoding="utf-8"))
        except Exception:  # noqa: BLE001 (whatever the parser says, the file cannot be read)
            found[name] = None
    return found


def baked(template: Path, answers: Mapping[str, str]) -> dict[str, Any] | str:
    """The data of the files, or the outcome of a bake without files."""
    with TemporaryDirectory() as folder:
        output = Path(folder, "one", "two")
        output.mkdir(parents=True)
        inside = {
            name: text.replace("/absolute", f"{folder}/absolute") for name, text in answers.items()
        }
        code, printed = bake(template, output, inside)
        expected = {output, output.parent}
        outside = [path for path in Path(folder).rglob("*") if output not in path.parents]
        projects = list(output.iterdir())
        if set(outside) - expected or (not code and len(projects) != 1):
            return "escaped"
        if code:
            return "traceback" if projects or "Traceback" in printed else "refused"
        return data(projects[0], answers["project_slug"])


def outcome(template: Path, tame: Mapping[str, Any], answers: Mapping[str, str]) -> str:
    """The outcome of the answers, as a key of OUTCOMES."""
    found = baked(template, answers)
    if isinstance(found, str):
        return found
    if None in found.values():
        return "broken"
    if answers["project_slug"] != TAME["project_slug"]:
        return "exact"  # a template may derive another package name from it
    real = {TAME[name]: value for name, value in answers.items()}
    same = all(found.get(name) == replaced(value, real) for name, value in tame.items())
    return "exact" if same else "changed"


def measure(template: Path) -> Counter[str]:
    """The number of answers with each outcome."""
    first, second = baked(template, TAME), baked(template, TAME)
    if isinstance(first, str) or isinstance(second, str):
        message = f"{template.name} does not bake with tame answers: {first}"
        raise SystemExit(message)
    if None in first.values():
        message = f"{template.name} has files that do not parse even with tame answers"
        raise SystemExit(message)
    # Data that differ in every bake, such as a secret key, do not depend on the answers.
    tame = {name: value for name, value in first.items() if second.get(name) == value}
    given = [(name, text) for name, text in inputs(template.name) if passable(text)]

    def one(answer: tuple[str, str]) -> str:
        return outcome(template, tame, TAME | dict([answer]))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(one, given))
    for (name, text), became in zip(given, outcomes, strict=True):
        if became not in {"exact", "refused"}:
            print(f"{template.name}: {name}={text!a} {OUTCOMES[became]}", file=sys.stderr)
    return Counter(outcomes)


def main(templates: list[Path]) -> None:
    """Prints one row for each template."""
    print(f"| template | answers | {' | '.join(OUTCOMES.values())} |")
    print("|---" * (2 + len(OUTCOMES)) + "|")
    for template in templates:
        counted = measure(template)
        cells = [counted.total(), *(counted[name] for name in OUTCOMES)]
        print(f"| {template.name} | {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main([Path(argument).absolute() for argument in sys.argv[1:]])
