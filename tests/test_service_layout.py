"""A default bake holds what a team reads and edits, and reaches into neither library."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

LIBRARIES = ("flask_asgi", "upstreams")


@pytest.fixture(scope="module")
def service(project: Path) -> list[Path]:
    """The modules of the service."""
    return sorted((project / "src" / "price_service").rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports from other packages."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_the_service_is_few_modules(service: list[Path]) -> None:
    assert len(service) <= 20


def test_only_the_parts_are_looked_up_by_a_name_that_no_type_checker_knows(
    service: list[Path],
) -> None:
    found = [path.name for path in service if ".extensions" in path.read_text("utf-8")]

    assert found == ["parts.py"]


def test_nothing_of_a_team_imports_a_private_module_of_a_library(service: list[Path]) -> None:
    private = {
        f"{path.name}: {module}"
        for path in service
        for module in imported(path)
        if re.match(rf"({'|'.join(LIBRARIES)})\._", module)
    }

    assert private == set()


def test_the_contract_knows_nothing_of_the_service(project: Path) -> None:
    modules = sorted((project / "tests" / "contract").glob("*.py"))

    assert len(modules) > 2
    for path in modules:
        assert "prices" not in path.read_text("utf-8")
        assert not [each for each in imported(path) if each.startswith("price_service")]


def test_the_contract_is_run_by_name_only(project: Path) -> None:
    configured = (project / "pyproject.toml").read_text("utf-8")

    assert re.search(r'^norecursedirs = \["contract"\]', configured, re.MULTILINE)


def test_no_module_of_the_service_is_imported_in_a_circle(service: list[Path]) -> None:
    root = service[0].parent
    names = {".".join(path.relative_to(root).with_suffix("").parts): path for path in service}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    imports = {name: set(needed(name, path, names)) for name, path in names.items()}
    while imports:  # take away what needs nothing that is left, until nothing is
        free = {name for name, needs in imports.items() if not needs & imports.keys()}
        assert free, f"a circle among {sorted(imports)}"
        imports = {name: needs for name, needs in imports.items() if name not in free}


def needed(name: str, path: Path, names: dict[str, Path]) -> Iterator[str]:
    """The modules of the service that one of them imports, also for types."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    package = [] if name == "__init__" else package
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module or "").split(".")
            base = [part for part in base if part]
            for alias in node.names:
                for module in (".".join([*base, alias.name]), ".".join(base)):
                    if module in names and module != name:
                        yield module
