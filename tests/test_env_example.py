"""`.env.example` of a bake is what its own command prints."""

import os
from pathlib import Path

import pytest

from .baking import OLDEST, bake
from .uv import on_python, run


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a bake's environment."""
    project = bake(tmp_path_factory.mktemp("settings"))
    run("uv", "sync", "--locked", cwd=project, env=on_python(OLDEST))
    return project / ".venv" / ("bin" if os.name == "posix" else "Scripts") / "python"


@pytest.mark.parametrize("include_example", [True, False])
@pytest.mark.parametrize("package", ["x", "price_service", "p" * 50])
def test_the_example_file_is_what_the_command_prints(
    package: str, *, include_example: bool, python: Path, tmp_path: Path
) -> None:
    project = bake(tmp_path, package_name=package, include_example=include_example)
    env = {"PYTHONPATH": str(project / "src")}

    printed = run(python, "-m", f"{package}.settings", cwd=project, env=env)

    assert (project / ".env.example").read_text(encoding="utf-8") == printed
