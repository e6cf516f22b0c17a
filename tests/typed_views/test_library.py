"""The library as a whole: its imports."""

import ast
import sys
from pathlib import Path

import pytest
import typed_views

SOURCES = Path(typed_views.__file__).parent
README = (SOURCES / "README.md").read_text(encoding="utf-8")
MODULES = sorted(SOURCES.glob("*.py"))

# Further dependencies of single modules, which are imported at first use.
OPTIONAL = {"_pages.py": {"flask_swagger_ui"}}


def imports(module: Path) -> set[str]:
    """The packages outside of the library that a module imports, for types too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module or "")
    return {name.partition(".")[0] for name in found}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_the_library_imports_only_itself_and_its_dependencies(module: Path) -> None:
    allowed = {"flask", "pydantic", "pydantic_core", "werkzeug"} | OPTIONAL.get(module.name, set())

    assert imports(module) - sys.stdlib_module_names <= allowed


def test_the_example_of_the_readme_runs() -> None:
    namespace: dict[str, object] = {"__name__": "readme"}
    code = README.partition("```python\n")[2].partition("```")[0]

    exec(compile(code, "README.md", "exec", dont_inherit=True), namespace)  # noqa: S102 - our own

    app = namespace["app"]
    response = app.test_client().post(  # type: ignore[attr-defined] # a Flask
        "/shops/3/orders?dry_run=true", json={"sku": "TEA", "quantity": 2}
    )
    assert response.status_code == 201
    assert response.get_json() == {"id": 0, "order": {"sku": "TEA", "quantity": 2}}
