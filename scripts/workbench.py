"""Bakes a default service to work on, and carries edits there back to the template.

`make workbench` bakes into `.cache/workbench/price-service`, as a Git repository with one commit.
`make carry-back` carries over all differences from that commit or none, and commits them. Each line
of a bake is traced to its line in the template. An edit is refused if it cannot be traced, or if
the template would not render the edited text.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from difflib import SequenceMatcher
from pathlib import Path

from jinja2 import TemplateError

from scripts.baking import CACHE, ROOT, SLUG, bake
from tests.rendering import PROJECT, Renderer

WORKBENCH = CACHE / "workbench"
MARK = re.compile("\x01(\\d+)\x02")  # before each line of a template, to find it in the bake
CONDITION = re.compile(r"\s*# jinja:")
STATEMENT = re.compile(r"\{%|\{#")
MARKUP = re.compile(r"\{\{|\{%|\{#|# jinja:")
EXPRESSION = re.compile(r"\{\{.*?\}\}")
LINE = re.compile(r"[^\n]*\n|[^\n]+")
NAMES = ("package_name", "project_slug")  # answers that need no quoting anywhere
TEXTS = ("project_name", "project_description", "full_name", "email", "github_username")

Render = Callable[[str], str]


class CannotCarryError(Exception):
    """Why an edit has to be made in the template by hand: one sentence."""


def refuse_if(wrong: object, message: str) -> None:
    """Raises CannotCarryError with the message, if `wrong` is true."""
    if wrong:
        raise CannotCarryError(message)


class Answers:
    """The answers of the bake; turns its lines and paths into the template's."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        """Takes the default answers."""
        self.names = {answers[name]: f"{{{{ cookiecutter.{name} }}}}" for name in NAMES}
        self.texts = [answers[name] for name in TEXTS]

    def as_template(self, line: str, expressions: Mapping[str, str]) -> str:
        """A new line with markup for the names and for the values of these expressions."""
        known = {value: text for value, text in expressions.items() if value.strip()} | self.names
        values = "|".join(map(re.escape, sorted(known, key=len, reverse=True)))
        refuse_if(MARKUP.search(line), "holds what Jinja would take for markup")
        for text in self.texts:
            refuse_if(text in line and text not in known, f"holds the answer {text!r}")
        for found in re.finditer(f"\\w?({values})\\w?", line):
            word = f"the word {found[0]!r}"
            refuse_if(found[0] != found[1], f"has {found[1]!r}, an answer, within {word}")
        return re.sub(values, lambda found: known[found[0]], line)

    def lines_as_template(self, new: list[str], old: list[str], render: Render) -> list[str]:
        """The new lines for the template in place of these lines of it."""
        texts = [text for line in old for text in EXPRESSION.findall(line)]
        values = {render(text): text for text in texts}
        lines = [self.as_template(line, values) for line in new]
        for value, text in values.items() if new else ():
            # A name may be added or removed; any other answer belongs in this line only.
            same = "".join(lines).count(text) == texts.count(text)
            refuse_if(
                value not in self.names and not same, f"drops or repeats the answer {value!r}"
            )
        return lines

    def as_path(self, path: str) -> str:
        """The path in the template for a new file of the bake."""
        for value, expression in self.names.items():
            path = path.replace(value, expression.replace(" ", ""))
        return path


def origins(template: str, baked: str, render: Render) -> list[int | None]:
    """For each line of a bake, its line in the template; None unless it is clear."""
    marked = "".join(
        line if CONDITION.match(line) else f"\x01{number}\x02{line}"
        for number, line in enumerate(LINE.findall(template))
    )
    try:
        rendered = render(marked)
    except TemplateError:
        rendered = "\0"
    same = MARK.sub("", rendered) == baked
    refuse_if(not same, "is not what the template gives now, or its markup spans lines")
    found = [MARK.findall(line) for line in LINE.findall(rendered)]
    times = Counter(mark for marks in found for mark in marks)
    return [int(marks[0]) if len(marks) == 1 == times[marks[0]] else None for marks in found]


def carried(template: str, baked: str, edited: str, render: Render, answers: Answers) -> str:
    """The template that renders `edited` as the current template renders `baked`.

    Raises:
        CannotCarryError: with the line of `edited`, when its place is ambiguous.
    """
    lines, new_lines = LINE.findall(template), LINE.findall(edited)
    origin = origins(template, baked, render)
    places = {number: [line] for number, line in enumerate([*lines, ""])}
    matcher = SequenceMatcher(None, LINE.findall(baked), new_lines, autojunk=False)
    for tag, start, end, new_start, new_end in matcher.get_opcodes():
        if tag == "equal":
            continue
        try:
            old = [number for number in origin[start:end] if number is not None]
            logic = len(old) < end - start or any(STATEMENT.search(lines[each]) for each in old)
            refuse_if(logic, "takes the place of what Jinja's logic made")
            taken = [lines[each] for each in old]
            new = answers.lines_as_template(new_lines[new_start:new_end], taken, render)
            if not old:
                following = gap(origin, start, len(lines))
                places[following] = new + places[following]
            elif len(old) == len(new) or not new:
                places |= {number: new[i : i + 1] for i, number in enumerate(old)}
            else:
                apart = old != list(range(old[0], old[0] + len(old)))
                refuse_if(apart, "changes lines on both sides of a condition")
                places |= {number: [] for number in old} | {old[0]: new}
        except CannotCarryError as error:
            message = f"line {new_start + 1} {error}"
            raise CannotCarryError(message) from None
    result = "".join(line for number in sorted(places) for line in places[number])
    refuse_if(render(result) != edited, "would be rendered otherwise than it was edited")
    return result


def gap(origin: list[int | None], place: int, end: int) -> int:
    """The line of the template before which to insert a line that is added here to the bake."""
    above = origin[place - 1] if place else -1
    below = origin[place] if place < len(origin) else end
    if above is None or above + 1 != below:
        message = "is added where a condition begins or ends"
        raise CannotCarryError(message)
    return above + 1


def git(*arguments: str) -> bytes:
    """The output of Git in the workbench, without the user's own settings."""
    identity = ("-c", "user.name=workbench", "-c", "user.email=workbench@localhost")
    env = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    folder = WORKBENCH / SLUG
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, env=env, stdout=subprocess.PIPE, check=True
    )
    return done.stdout


def changes() -> Iterator[tuple[str, bytes | None, bytes | None]]:
    """Every changed file: its path, its old and its new content; None if it does not exist."""
    git("add", "--all")
    for path in git("diff", "--cached", "--name-only", "--no-renames", "-z").decode().split("\0"):
        if path:
            was = git("show", f"HEAD:{path}") if git("ls-tree", "HEAD", path) else None
            file = WORKBENCH / SLUG / path
            yield path, was, file.read_bytes() if file.exists() else None


def carry_back() -> dict[Path, str | None]:
    """The new content for the template, by file; None for a file to remove.

    Raises:
        SystemExit: with a sentence for each edit that has to be made by hand.
    """
    renderer = Renderer()
    answers = Answers(renderer.defaults)
    names = {
        source.path.render(cookiecutter=renderer.defaults): source.name
        for source in renderer.sources
    }

    def render(text: str) -> str:
        return str(renderer.environment.from_string(text).render(cookiecutter=renderer.defaults))

    found: dict[Path, str | None] = {}
    refused = []
    for path, was, now in changes():
        target = PROJECT / names.get(path, answers.as_path(path))
        template = target.read_text(encoding="utf-8") if target.exists() else ""
        try:
            refuse_if(was is None and template, "is in the template already, for other answers")
            baked = (was or b"").decode()
            if now is None:
                origins(template, baked, render)  # refuses if the template has changed
                found[target] = None
            else:
                found[target] = carried(template, baked, now.decode(), render, answers)
        except (CannotCarryError, UnicodeDecodeError) as error:
            refused.append(f"{path}: {error}. Edit {target.relative_to(ROOT)} by hand.")
    if refused:
        sys.exit("\n".join([*refused, "Nothing was carried back."]))
    return found


def main(command: str) -> None:
    """Makes the workbench, or carries back.

    Raises:
        SystemExit: with the step that has to be done first.
    """
    exists = (WORKBENCH / SLUG / ".git").is_dir()
    if command == "carry-back":
        if not exists:
            sys.exit("There is no workbench: run `make workbench` first.")
        for target, text in carry_back().items():
            if text is None:
                target.unlink()
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8", newline="\n")
            print(target.relative_to(ROOT))
        git("commit", "--quiet", "--allow-empty", "--message", "carried back")
        return
    if exists and any(changes()):
        sys.exit(f"{WORKBENCH} has edits: run `make carry-back`, or remove that folder.")
    shutil.rmtree(WORKBENCH, ignore_errors=True)
    bake(WORKBENCH)
    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "the bake")


if __name__ == "__main__":
    main(sys.argv[1])
