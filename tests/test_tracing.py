"""A service without the extra `otel`, which its own tests install by default."""

from pathlib import Path

import pytest

from .baking import OLDEST, bake
from .uv import on_python, run

EXTRA = ("api", "exporter-otlp-proto-http", "exporter-otlp-proto-common", "proto", "sdk")


@pytest.mark.heavy
def test_a_service_passes_its_tests_without_the_extra(tmp_path: Path) -> None:
    project, env = bake(tmp_path), on_python(OLDEST)
    run("uv", "sync", "--locked", cwd=project, env=env)
    names = (f"opentelemetry-{name}" for name in EXTRA)
    run("uv", "pip", "uninstall", "--python", project / ".venv", *names, cwd=project)

    run("uv", "run", "--no-sync", "pytest", cwd=project, env=env)
