"""What an orchestrator is told while the service starts, serves and drains."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.asgi import lifespan
from {{ cookiecutter.package_name }}.readiness import Readiness


def test_a_live_process_says_so_whatever_its_state(app: Flask, client: FlaskClient) -> None:
    app.extensions["readiness"].draining()

    response = client.get("/livez")

    assert response.status_code == 200
    assert response.json == {"status": "alive"}
    assert response.headers["Cache-Control"] == "no-store"


def test_without_a_lifespan_the_application_is_ready(client: FlaskClient) -> None:
    response = client.get("/readyz")

    assert response.status_code == 200
    assert response.json is not None
    assert response.json["status"] == "ready"
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("state", ["starting", "draining"])
def test_a_process_that_starts_or_drains_is_not_ready(
    app: Flask, client: FlaskClient, state: str
) -> None:
    getattr(app.extensions["readiness"], state)()

    response = client.get("/readyz")

    assert response.status_code == 503
    assert response.content_type == "application/problem+json"
    assert response.json is not None
    assert response.json["detail"] == f"The service is {state}."
    assert response.headers["Cache-Control"] == "no-store"


class Upstream:
    """An upstream that notes how ready the process is whenever it is opened or closed."""

    def __init__(self, readiness: Readiness) -> None:
        self.readiness = readiness
        self.seen: list[str] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        self.seen.append(self.readiness.state.value)
        yield
        self.seen.append(self.readiness.state.value)


@pytest.mark.anyio
async def test_a_process_is_ready_only_while_its_upstreams_are_open(app: Flask) -> None:
    readiness = app.extensions["readiness"]
    readiness.starting()
    upstream = Upstream(readiness)
    app.extensions["upstreams"] = [upstream]

    async with lifespan(app):
        assert readiness.state.value == "ready"

    assert upstream.seen == ["starting", "draining"]
