"""The library as a whole: what it imports, what it exports, and that it runs alone."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import upstreams

from .fake_upstream import BODY, serve

SOURCES = Path(upstreams.__file__).parent
README = (SOURCES / "README.md").read_text(encoding="utf-8")
MODULES = sorted(SOURCES.glob("*.py"))


def imports(module: Path) -> list[tuple[str, int]]:
    """Return every module that it imports, for types too, with the level of a relative import."""
    found: list[tuple[str, int]] = []
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names] if node.module is None else [node.module]
            found += [(name, node.level) for name in names]
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_it_imports_itself_and_what_it_declares_and_nothing_else(module: Path) -> None:
    outside = {name.partition(".")[0] for name, level in imports(module) if level == 0}
    allowed = {"aiohttp", "httpx", "yarl"}
    if module.name == "_settings.py":
        allowed |= {"pydantic"}
    if module.name == "_cache.py":
        allowed |= {"anysqlite", "hishel", "redis"}
    if module.name == "_redis_url.py":
        allowed |= {"redis"}

    assert outside - sys.stdlib_module_names <= allowed


def test_a_name_that_is_not_there_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = upstreams.nothing


def test_what_the_cache_needs_is_not_imported_without_it() -> None:
    optional = {"hishel", "redis", "anysqlite", "pydantic", "flask"}
    code = f"import sys, upstreams; print(*{optional} & {{*sys.modules}})"
    path = str(SOURCES.parent)
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == ""
    assert importlib.import_module("upstreams").open_cache is not None


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_its_text_does_not_speak_of_the_service_around_it(module: Path) -> None:
    text = module.read_text(encoding="utf-8")

    for name in ("settings.py", "logs.py", "lifespan", "Flask", "WSGI app", "this service"):
        assert name not in text


@pytest.mark.anyio
async def test_the_example_of_its_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    example = README.split("```python\n")[1].split("```")[0].replace("asyncio.run(main())\n", "")
    async with serve() as served:
        namespace: dict[str, Any] = {}
        address = example.replace("https://prices.example/v1", served.base_url)
        exec(address, namespace)  # noqa: S102 - our own text
        await namespace["main"]()

    assert capsys.readouterr().out.splitlines() == [
        "{'AAPL': 1.5, 'MSFT': 1.5} {}",
        "200",
        BODY.decode(),
    ]
