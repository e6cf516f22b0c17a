"""The template works on Linux, macOS and Windows: checked by construction on any system."""

import ast
import re
import sys
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from .baking import ROOT
from .rendering import PROJECT, Renderer, all_sets

# Characters that Windows forbids in names, and its names of devices.
FORBIDDEN = re.compile(r'[<>:"\\|?*\x00-\x1f]|[. ]$')
DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)

# Windows allows 260 characters, including the folder of the project.
LONGEST_PATH = 160

LONG = {"project_slug": "x" * 50, "package_name": "y" * 50}

# Modules that need a program, a network or a certain system.
NOT_FOR_HOOKS = {"ctypes", "fcntl", "grp", "os", "posix", "pwd", "socket", "subprocess", "urllib"}

HOOKS = sorted(ROOT.glob("hooks/*"))


@pytest.fixture(scope="module")
def paths(renderer: Renderer) -> set[str]:
    """The path of every file of any set of answers, including the project's folder."""
    return {
        f"{LONG['project_slug']}/{path}"
        for answers in all_sets()
        for path in renderer.render(answers | LONG)
    }


def test_every_file_name_is_valid_on_every_system(paths: set[str]) -> None:
    sources = {path.relative_to(ROOT).as_posix() for path in PROJECT.rglob("*")}
    names = {part for path in paths | sources for part in PurePosixPath(path).parts}

    assert [name for name in names if FORBIDDEN.search(name) or DEVICE.fullmatch(name)] == []
    assert [name for name in names if not name.isascii()] == []


def test_no_two_names_differ_in_case_only(paths: set[str]) -> None:
    folders = {parent.as_posix() for path in paths for parent in PurePosixPath(path).parents}
    counted = Counter(path.lower() for path in paths | folders)

    assert [path for path, number in counted.items() if number > 1] == []


def test_no_path_is_too_long_with_the_longest_names(paths: set[str]) -> None:
    assert max(map(len, paths)) <= LONGEST_PATH


def test_the_template_has_no_symlinks_and_no_carriage_returns() -> None:
    for path in [
        *PROJECT.rglob("*"),
        *(ROOT / "templates").rglob("*"),
        *HOOKS,
        ROOT / "cookiecutter_flask_async_answers.py",
    ]:
        assert not path.is_symlink(), path
        assert path.is_dir() or b"\r" not in path.read_bytes(), path


def test_every_hook_needs_only_the_standard_library_and_jinja() -> None:
    assert {path.suffix for path in HOOKS if path.is_file()} == {".py"}
    for path in filter(Path.is_file, [*HOOKS, ROOT / "cookiecutter_flask_async_answers.py"]):
        imported = {
            name.partition(".")[0]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            for name in imports(node)
        }
        assert imported <= (sys.stdlib_module_names | {"jinja2"}) - NOT_FOR_HOOKS, path


def imports(node: ast.AST) -> list[str]:
    """The modules that a statement imports."""
    if isinstance(node, ast.ImportFrom):
        return [node.module or "."]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def test_every_text_is_read_and_written_as_utf_8() -> None:
    for path in filter(Path.is_file, [*HOOKS, ROOT / "cookiecutter_flask_async_answers.py"]):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                given = [*call.args, *(keyword.value for keyword in call.keywords)]
                constants = {value.value for value in given if isinstance(value, ast.Constant)}
                if call.func.attr in {"read_text", "write_text", "open"}:
                    assert constants & {"utf-8", "rb", "wb"}, f"{path}: line {call.lineno}"
