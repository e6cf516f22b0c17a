"""A bake without the example passes its own tests."""

from pathlib import Path

import pytest

from .baking import OLDEST, bake
from .uv import on_python, run_tests


@pytest.mark.heavy
def test_the_tests_of_a_bake_without_the_example_pass(tmp_path: Path) -> None:
    project = bake(tmp_path, project_name="Plain", include_example=False)

    run_tests(project, on_python(OLDEST))
