"""Health checks while the service starts, serves and drains."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from upstreams import Upstream, UpstreamUnavailable

from {{ cookiecutter.package_name }}.parts import parts

from .conftest import LiveClient
from .serving import free_port


def test_a_live_process_is_alive_in_every_state(app: Flask, client: FlaskClient) -> None:
    parts(app).readiness.draining()

    response = client.get("/livez")

    assert response.status_code == 200
    assert response.json == {"status": "alive"}
    assert response.headers["Cache-Control"] == "no-store"


def test_a_process_that_serves_is_ready(live_client: LiveClient) -> None:
    response = live_client.get("/readyz")

    assert response.status_code == 200
    assert response.json()["status"] == "ready"
    assert response.headers["Cache-Control"] == "no-store"


def test_without_a_lifespan_the_application_is_ready(client: FlaskClient) -> None:
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("state", ["starting", "draining"])
def test_a_process_that_starts_or_drains_is_not_ready(
    app: Flask, client: FlaskClient, state: str
) -> None:
    getattr(parts(app).readiness, state)()

    response = client.get("/readyz")

    assert response.status_code == 503
    assert response.content_type == "application/problem+json"
    assert response.json is not None
    assert response.json["detail"] == f"The service is {state}."
    assert response.headers["Cache-Control"] == "no-store"


def test_a_draining_process_closes_the_connections_of_its_clients(
    app: Flask, client: FlaskClient
) -> None:
    assert "Connection" not in client.get("/livez").headers

    parts(app).readiness.draining()

    assert client.get("/livez").headers["Connection"] == "close"


class Unreachable:
    """A client of an upstream that does not exist."""

    def __init__(self, *, required: bool, breaker_seconds: float = 60) -> None:
        self.upstream = Upstream(
            "orders",
            f"http://127.0.0.1:{free_port()}",
            timeout=5,
            max_connections=1,
            breaker_failures=1,
            breaker_seconds=breaker_seconds,
            required=required,
        )


@pytest.mark.parametrize(
    ("required", "status", "said"),
    [(False, 200, "ready"), (True, 503, "The upstream orders fails.")],
)
def test_readyz_shows_an_open_breaker_and_fails_for_a_required_upstream(
    app: Flask, live_client: LiveClient, required: object, status: int, said: str
) -> None:
    orders = Unreachable(required=bool(required))
    vars(parts(app).clients)["orders"] = orders
    before = live_client.get("/readyz").json()
    assert (before["status"], before["upstreams"]["orders"]) == ("ready", "closed")

    with pytest.raises(UpstreamUnavailable):
        live_client.run(orders.upstream.get("/"))
    response = live_client.get("/readyz")

    assert response.status_code == status
    assert said in (response.json()["status"], response.json().get("detail"))
    assert response.json()["upstreams"]["orders"] == "open"
