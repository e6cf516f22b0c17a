"""Health checks while the service starts, serves and drains."""

import asyncio

import pytest
from flask import Flask
from flask.testing import FlaskClient
from upstreams import UpstreamUnavailable

from price_service.parts import parts

from ..test_health import Unreachable


def test_a_half_open_breaker_keeps_the_service_ready(app: Flask, client: FlaskClient) -> None:
    orders = Unreachable(required=True, breaker_seconds=1e-9)
    vars(parts(app).clients)["orders"] = orders

    async def call() -> None:
        await orders.upstream.get("/")

    with pytest.raises(UpstreamUnavailable):
        asyncio.run(call())

    assert client.get("/readyz").get_json()["upstreams"]["orders"] == "half-open"
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    ("protocol", "state", "expected"),
    [
        ("HTTP/1.1", "ready", None),
        ("HTTP/1.1", "draining", "close"),
        ("HTTP/2", "draining", None),  # HTTP/2 forbids the header
    ],
)
def test_a_draining_process_closes_the_connections_of_its_clients(
    app: Flask, client: FlaskClient, protocol: str, state: str, expected: str | None
) -> None:
    getattr(parts(app).readiness, state)()

    response = client.get("/livez", environ_overrides={"SERVER_PROTOCOL": protocol})

    assert response.headers.get("Connection") == expected
