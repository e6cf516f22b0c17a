"""A baked service, started by its own command, answers over a socket and stops on a signal."""

import os
from pathlib import Path

import pytest

from .baking import OLDEST, bake
from .serving import free_port, get, running
from .uv import on_python, run


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A default bake with its own environment."""
    return bake(tmp_path_factory.mktemp("installed"))


def install(project: Path) -> dict[str, str]:
    """Installs a project; returns the environment of its commands, with a free port."""
    env = on_python(OLDEST) | {"PORT": str(free_port())}
    run("uv", "sync", "--locked", cwd=project, env=env)
    return {**os.environ, **env}


def test_the_example_waits_for_its_prices_at_the_same_time(project: Path) -> None:
    env = install(project)
    port = int(env["PORT"])

    with running("uv", "run", "price-service", cwd=project, env=env, port=port) as server:
        body = get(port, "/prices?symbol=AAPL&symbol=MSFT&symbol=GOOG").json()
        page = get(port, "/")

    assert body["concurrent"] is True
    assert {wait["symbol"] for wait in body["waits"]} == {"AAPL", "MSFT", "GOOG"}
    assert (page.status, page.content_type) == (200, "text/html")
    assert server.returncode == 0


@pytest.mark.heavy
def test_a_service_without_the_example_answers(tmp_path: Path) -> None:
    project = bake(tmp_path, project_name="Plain", include_example=False)
    env = install(project)
    port = int(env["PORT"])

    with running("uv", "run", "plain", cwd=project, env=env, port=port) as server:
        alive = get(port, "/livez")
        missing = get(port, "/prices")

    assert alive.status == 200
    assert (missing.status, missing.content_type) == (404, "application/problem+json")
    assert server.returncode == 0


@pytest.mark.heavy
def test_the_package_runs_as_a_module_too(project: Path) -> None:
    env = install(project)
    port = int(env["PORT"])
    command = ("uv", "run", "python", "-m", "price_service")

    with running(*command, cwd=project, env=env, port=port) as server:
        assert get(port, "/livez").status == 200

    assert server.returncode == 0
