"""The library as a whole: its imports, its exports, and that it runs alone."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import upstreams

from tests.serving import environment

from .fake_upstream import BODY, serve

SOURCES = Path(upstreams.__file__).parent
README = (SOURCES / "README.md").read_text(encoding="utf-8")
MODULES = sorted(SOURCES.glob("*.py"))

# Further packages of single modules, imported at their first use.
OPTIONAL = {
    "_cache.py": {"anysqlite", "hishel", "redis"},
    "_env_example.py": {"pydantic"},
    "_mistakes.py": {"pydantic", "pydantic_core"},
    "_redis_url.py": {"redis"},
    "_service_settings.py": {"pydantic", "pydantic_settings"},
    "_setting_types.py": {"pydantic"},
    "_settings.py": {"pydantic"},
    "_upstream_metrics.py": {"prometheus_client"},
    "_spans.py": {"opentelemetry"},
    "_variables.py": {"pydantic"},
}

# A sentence that a service shows to its operator.
OWN_WORDS = "is not a setting of this service"


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
def test_a_module_imports_only_the_library_and_declared_packages(module: Path) -> None:
    outside = {name.partition(".")[0] for name, level in imports(module) if level == 0}
    allowed = {"aiohttp", "httpx", "yarl"} | OPTIONAL.get(module.name, set())

    assert outside - sys.stdlib_module_names <= allowed


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = upstreams.nothing


def test_optional_packages_are_imported_at_first_use() -> None:
    optional = {"flask", "pydantic_settings"}.union(*OPTIONAL.values())
    code = f"import sys, upstreams; print(*{optional} & {{*sys.modules}})"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == ""
    assert importlib.import_module("upstreams").open_cache is not None


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_no_module_mentions_the_service(module: Path) -> None:
    text = module.read_text(encoding="utf-8").replace(OWN_WORDS, "")

    for name in ("settings.py", "logs.py", "lifespan", "Flask", "WSGI app", "this service"):
        assert name not in text


@pytest.mark.anyio
async def test_the_example_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
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
