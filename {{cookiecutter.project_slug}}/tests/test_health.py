"""What an orchestrator is told while the service starts, serves and drains."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_asgi._readiness import Readiness
from upstreams._errors import UpstreamUnavailable
from upstreams._upstream import Upstream

from {{ cookiecutter.package_name }}.asgi import lifespan

from .serving import free_port


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


def unreachable(*, breaker_seconds: float, required: bool) -> Upstream:
    return Upstream(
        "raw",
        f"http://127.0.0.1:{free_port()}",
        timeout=5,
        max_connections=1,
        breaker_failures=1,
        breaker_seconds=breaker_seconds,
        required=required,
    )


@pytest.mark.parametrize(
    ("required", "status", "said"), [(False, 200, "ready"), (True, 503, "The upstream raw fails.")]
)
def test_a_breaker_that_is_open_is_shown_and_counts_where_the_upstream_is_required(
    app: Flask, client: FlaskClient, required: object, status: int, said: str
) -> None:
    upstream = unreachable(breaker_seconds=60, required=bool(required))
    app.extensions["upstreams"] = [upstream]
    assert client.get("/readyz").json == {"status": "ready", "upstreams": {"raw": "closed"}}

    with pytest.raises(UpstreamUnavailable):
        asyncio.run(call(upstream))
    response = client.get("/readyz")

    assert response.status_code == status
    assert response.json is not None
    assert said in (response.json["status"], response.json.get("detail"))
    assert response.json["upstreams"] == {"raw": "open"}


def test_a_required_upstream_costs_no_readiness_once_it_may_be_tried_again(
    app: Flask, client: FlaskClient
) -> None:
    upstream = unreachable(breaker_seconds=1e-9, required=True)
    app.extensions["upstreams"] = [upstream]
    with pytest.raises(UpstreamUnavailable):
        asyncio.run(call(upstream))

    assert client.get("/readyz").json == {"status": "ready", "upstreams": {"raw": "half-open"}}


async def call(upstream: Upstream) -> None:
    await upstream.get("/")


class Opened:
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
    upstream = Opened(readiness)
    app.extensions["upstreams"] = [upstream]

    async with lifespan(app):
        assert readiness.state.value == "ready"

    assert upstream.seen == ["starting", "draining"]


@pytest.mark.parametrize(
    ("protocol", "state", "expected"),
    [
        ("HTTP/1.1", "ready", None),
        ("HTTP/1.1", "draining", "close"),
        ("HTTP/2", "draining", None),  # forbids the header
    ],
)
def test_a_process_that_drains_ends_the_connections_of_its_clients(
    app: Flask, client: FlaskClient, protocol: str, state: str, expected: str | None
) -> None:
    getattr(app.extensions["readiness"], state)()

    response = client.get("/livez", environ_overrides={"SERVER_PROTOCOL": protocol})

    assert response.headers.get("Connection") == expected
