"""The layout of a bake: a small service, and libraries that do not depend on it.

The sources are parsed, not run, so imports for types only and imports inside a function count too.
They are the template's sources; its conditions are comment lines, which Python ignores.
"""

import ast
import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.version import Version

from .baking import PYTHONS, ROOT, bake, contents
from .releases import git
from .rendering import PROJECT, Renderer, pairwise_sets
from .uv import run

SRC = PROJECT / "src"
SERVICE = "{{cookiecutter.package_name}}"
LIBRARIES = ("flask_asgi", "flask_guards", "typed_views", "upstreams")
MARKUP = re.compile(r"\{\{|\{%|\{#|# jinja:")

# Modules that only a library may import.
ENGINE = {"aiohttp", "asgiref.sync", "asgiref.wsgi", "greenlet", "httptools"}

# Forbidden imports of each part: packages, or modules by their dotted names.
FORBIDDEN = {
    "flask_asgi": {SERVICE, "flask_guards", "pydantic", "tests", "typed_views", "upstreams"},
    "flask_guards": ENGINE
    | {SERVICE, "asgiref", "flask_asgi", "httpx", "tests", "typed_views", "upstreams"},
    "typed_views": ENGINE
    | {SERVICE, "asgiref", "flask_asgi", "flask_guards", "httpx", "tests", "upstreams"},
    "upstreams": {
        *(SERVICE, "asgiref", "flask", "flask_asgi", "flask_guards", "greenlet", "tests"),
        "typed_views",
        "werkzeug",
    },
    SERVICE: ENGINE | {"tests"},
}

# What a module needs that is imported at its first use.
OPTIONAL = {"flask_asgi._server_settings": {"pydantic"}}

# The parts in the order in which a request passes them. No part imports an earlier part.
ORDER = ("serve", "asgi", "app", "views", "clients")


class Module(NamedTuple):
    """A module's dotted name, its syntax tree, and whether it is the `__init__.py` of a package."""

    name: str
    tree: ast.Module
    is_package: bool


def module(name: str, text: str, *, is_package: bool = False) -> Module:
    """The module with this source text."""
    return Module(name, ast.parse(text), is_package)


@cache
def modules(folder: Path) -> dict[str, Module]:
    """The modules of a package by their dotted names, which begin with the package's name."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found[name] = module(name, path.read_text(encoding="utf-8"), is_package=is_package)
    return found


def absolute(importer: Module, node: ast.ImportFrom) -> str:
    """The absolute dotted name after the `from` of an import."""
    if not node.level:
        return node.module or ""
    above = node.level - importer.is_package
    parts = importer.name.split(".")
    assert above < len(parts), f"{importer.name} imports from outside of its package"
    return ".".join([*parts[: len(parts) - above], *filter(None, [node.module])])


def imports(importer: Module) -> Iterator[tuple[str, str]]:
    """Every import: a dotted name, and the name imported from it, or an empty text."""
    for node in ast.walk(importer.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = absolute(importer, node)
            yield from ((start, alias.name) for alias in node.names)


def imported(importer: Module) -> set[str]:
    """Every dotted name that an import may load, with its parent packages."""
    names = {f"{start}.{name}" if name else start for start, name in imports(importer)}
    parts = (name.split(".") for name in names)
    return {".".join(each[: end + 1]) for each in parts for end in range(len(each))}


def import_cycle(package: Mapping[str, Module]) -> list[str]:
    """The modules of one import cycle of a package; empty if it has no cycle.

    The import of a module first runs its parent packages. The importer's own parent packages are
    running already; they count only if it imports a name from them.
    """
    graph = {}
    for each in package.values():
        asked = {start for start, name in imports(each) if f"{start}.{name}" not in package}
        around = {name for name in package if f"{each.name}.".startswith(f"{name}.")}
        graph[each.name] = (imported(each) & package.keys()) - (around - asked) - {each.name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@cache
def public(library: str) -> list[str]:
    """The names in a library's `__all__`."""
    for node in modules(SRC / library)[library].tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


@cache
def optional(library: str) -> set[str]:
    """The public names that a library imports at first use: they need optional dependencies."""
    return {
        alias.name
        for node in modules(SRC / library)[library].tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for each in node.body
        if isinstance(each, ast.ImportFrom)
        for alias in each.names
    }


def private_uses(user: Module) -> Iterator[str]:
    """Every use of a library's private name in a module."""
    names = {
        library: {*public(library), *optional(library), "__version__"} for library in LIBRARIES
    }
    for start, name in imports(user):
        library, _, inside = start.partition(".")
        if library in names and (inside or (name and name not in names[library])):
            yield f"{user.name} imports {name or 'it'} from {start}"
    for node in ast.walk(user.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            library = node.value.id
            if library in names and node.attr not in names[library] | {"__file__", "__name__"}:
                yield f"{user.name} takes {library}.{node.attr}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = re.findall(rf"\b(?:{'|'.join(LIBRARIES)})\._\w+", node.value)
            yield from (f"{user.name} names {name}" for name in found)


def lines(files: Mapping[str, bytes]) -> int:
    """The number of lines of Python."""
    return sum(data.count(b"\n") for name, data in files.items() if name.endswith(".py"))


def test_the_sources_are_a_service_and_its_libraries() -> None:
    assert {SERVICE, *LIBRARIES} == {path.name for path in SRC.iterdir()}


@pytest.mark.parametrize("part", FORBIDDEN)
def test_no_part_has_a_forbidden_import(part: str) -> None:
    wrong = {
        name: imported(each) & FORBIDDEN[part] - OPTIONAL.get(name, set())
        for name, each in modules(SRC / part).items()
    }

    assert {name: names for name, names in wrong.items() if names} == {}


def test_no_part_of_the_service_imports_an_earlier_part() -> None:
    service = modules(SRC / SERVICE)
    for place, name in enumerate(ORDER):
        before = {f"{SERVICE}.{earlier}" for earlier in ORDER[:place]}
        inside = [each for each in service if f"{each}.".startswith(f"{SERVICE}.{name}.")]
        assert inside
        for each in inside:
            assert not imported(service[each]) & before, each


@pytest.mark.parametrize(
    "part",
    [*LIBRARIES, SERVICE],
)
def test_no_part_has_an_import_cycle(part: str) -> None:
    assert import_cycle(modules(SRC / part)) == []


@pytest.mark.parametrize(
    "text",
    [
        "from . import a",
        "from .a import x",
        "from p.a import x",
        "import p.a",
        "from p import a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import x",
        "def f():\n    from . import a",
        "from . import x",  # of p itself, which imports a
        "from .sub.c import x",  # runs p.sub, which imports a
    ],
)
def test_a_cycle_is_found_in_every_form_of_import(text: str) -> None:
    package = {
        "p": module("p", "from .a import x", is_package=True),
        "p.a": module("p.a", "from .b import x"),
        "p.b": module("p.b", text),
        "p.sub": module("p.sub", "from ..a import x", is_package=True),
        "p.sub.c": module("p.sub.c", ""),
    }

    assert {"p.a", "p.b"} <= {*import_cycle(package)}


def test_imports_without_a_cycle_are_accepted() -> None:
    package = {
        "p": module("p", "from .a import x\nfrom .sub import y", is_package=True),
        "p.a": module("p.a", "from . import b\nimport q.p.a"),
        "p.b": module("p.b", "from .sub.c import x"),
        "p.sub": module("p.sub", "from .c import y", is_package=True),
        "p.sub.c": module("p.sub.c", "import os"),
    }

    assert import_cycle(package) == []


def test_the_service_uses_public_names_only() -> None:
    found = [use for each in modules(SRC / SERVICE).values() for use in private_uses(each)]

    assert found == []


def test_the_tests_of_a_service_use_public_names_only(project: Path) -> None:
    found = [use for each in modules(project / "tests").values() for use in private_uses(each)]

    assert found == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from upstreams import Upstream, fan_out", False),
        ("import upstreams\nupstreams.Upstream, upstreams.__version__", False),
        ("from .upstreams import anything", False),
        ("'the upstreams.'", False),
        ("from upstreams._pool import Pool", True),
        ("from upstreams import _pool", True),
        ("from upstreams import Pool", True),
        ("import upstreams._pool", True),
        ("import upstreams\nupstreams._pool", True),
        ("def f():\n    from flask_asgi._bridge import FlaskToAsgi", True),
        ("mock.patch('upstreams._pool.Pool')", True),
    ],
)
def test_uses_of_private_names_are_found(text: str, *, expected: bool) -> None:
    assert expected == bool([*private_uses(module("service.module", text))])


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_lists_its_public_names(library: str) -> None:
    listed = public(library)
    bound = {
        alias.asname or alias.name
        for node in modules(SRC / library)[library].tree.body
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    imported_library = importlib.import_module(library)

    assert listed
    assert sorted(listed, key=lambda name: (not name.isupper(), name.islower(), name)) == listed
    assert len({*listed}) == len(listed)
    assert {name for name in bound if not name.startswith("_")} <= {*listed}
    for name in {*listed, *optional(library)}:
        assert not name.startswith("_")
        getattr(imported_library, name)
    assert re.fullmatch(r"\d+\.\d+\.\d+", str(Version(imported_library.__version__)))


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_its_public_names_and_private_modules(library: str) -> None:
    names = {path.name for path in (SRC / library).iterdir() if path.name != "__pycache__"}
    shown = {"LICENSE", "README.md", "__init__.py", "py.typed"}

    assert shown == {name for name in names if name in shown or not name.startswith("_")}
    readme = (SRC / library / "README.md").read_text(encoding="utf-8")
    assert "```python" in readme
    assert readme.count("\n") <= 65


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_the_same_bytes_in_every_bake(library: str, project: Path) -> None:
    sources = contents(SRC / library)
    renderer = Renderer()
    names = {"project_slug": "x", "package_name": "y" * 50, "full_name": "{{ 7 * 7 }}"}

    assert sources
    assert [name for name, data in sources.items() if MARKUP.search(data.decode())] == []
    assert sources == contents(project / "src" / library)
    for answers in pairwise_sets():
        files = renderer.render(answers | names)
        for name, data in sources.items():
            assert data == files[f"src/{library}/{name}"].encode()


# `test_bakes` checks a whole service with its libraries for the system that differs most.
@pytest.mark.heavy
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", ["win32", "darwin", "linux"])
def test_the_libraries_pass_the_type_checks_of_every_system(python: str, platform: str) -> None:
    """`make lint` checks only its own system; a service's mypy reports no fault in a library."""
    system = ("--python-version", python, "--platform", platform)
    where = (*system, "--cache-dir", ROOT / ".cache" / "mypy-libraries")

    run(sys.executable, "-m", "mypy", *where, *(SRC / name for name in LIBRARIES), cwd=ROOT)


def test_git_attributes_mark_the_libraries_as_vendored(tmp_path: Path) -> None:
    project = bake(tmp_path)
    git(project, "init", "--quiet")
    marks = ("linguist-vendored", "linguist-generated")
    names = [path.relative_to(project) for path in (project / "src").rglob("*") if path.is_file()]

    for name in names:
        found = git(project, "check-attr", *marks, "--", name)
        expected = "set" if name.parts[1] in LIBRARIES else "unspecified"
        assert found.splitlines() == [f"{name}: {mark}: {expected}" for mark in marks]


def test_the_service_is_small(project: Path, tmp_path: Path) -> None:
    package = contents(project / "src" / "price_service")
    without_example = contents(bake(tmp_path, include_example=False) / "src" / "price_service")

    assert sum(name.endswith(".py") for name in package) <= 21
    assert lines(package) <= 1250
    assert lines(without_example) <= 805


def test_the_tests_of_a_service_are_small(project: Path) -> None:
    files = contents(project / "tests")
    contract = {name: data for name, data in files.items() if name.startswith("contract/")}

    assert lines(files) - lines(contract) <= 2460
    assert 0 < lines(contract) <= 350


def test_only_parts_py_uses_app_extensions(project: Path) -> None:
    package = contents(project / "src" / "price_service")

    assert [name for name, data in package.items() if b".extensions" in data] == ["parts.py"]


def test_the_contract_does_not_use_the_service(project: Path) -> None:
    tests = modules(project / "tests")
    contract = [each for name, each in tests.items() if name.startswith("tests.contract.")]
    files = contents(project / "tests" / "contract")

    assert len(contract) >= 2
    assert [name for name, data in files.items() if b"prices" in data] == []
    for each in contract:
        assert not [name for name, _ in imports(each) if name.startswith("price_service")]


def test_the_contract_is_run_by_name_only(project: Path) -> None:
    configured = (project / "pyproject.toml").read_text(encoding="utf-8")

    assert re.search(r'^norecursedirs = \["contract"\]', configured, re.MULTILINE)
