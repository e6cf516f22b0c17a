"""A bake's command prints exactly the `.env.example` of the bake."""

from pathlib import Path

import pytest

from .baking import bake
from .uv import run


@pytest.mark.parametrize("include_example", [True, False])
@pytest.mark.parametrize(
    "package",
    ["price_service", *(pytest.param(each, marks=pytest.mark.heavy) for each in ("x", "p" * 50))],
)
def test_the_example_file_equals_the_output_of_the_command(
    package: str, *, include_example: bool, tools: Path, tmp_path: Path
) -> None:
    project = bake(tmp_path, package_name=package, include_example=include_example)
    env = {"PYTHONPATH": str(project / "src")}

    printed = run(tools / "python", "-m", f"{package}.settings", cwd=project, env=env)

    assert (project / ".env.example").read_text(encoding="utf-8") == printed
