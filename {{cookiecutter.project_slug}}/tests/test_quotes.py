"""`POST /quotes`: all prices at once, or a problem that names the missing or wrong part.

A caller needs a token, and has a rate limit.
"""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_guards import LocalIssuer

from {{ cookiecutter.package_name }}.app import create_app
from {{ cookiecutter.package_name }}.clients.stub import (
    StubPrices,
    invented_price,
)
from {{ cookiecutter.package_name }}.settings import Settings

from .test_prices import content, use

WANTED = [
    {"symbol": "AAPL", "quantity": 3},
    {"symbol": "MSFT", "quantity": 1},
    {"symbol": "AAPL", "quantity": 2},
]


def bearer(app: Flask, scope: str, subject: str = "someone") -> dict[str, str]:
    """Return the headers of a caller with a token for `scope`."""
    issuer = LocalIssuer(app.name)
    return {"Authorization": f"Bearer {issuer.token(subject, scopes=[scope])}"}


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Return a client that may ask for quotes."""
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = bearer(app, "quotes:write")["Authorization"]
    return client


@pytest.mark.parametrize(
    ("scope", "status", "challenge"),
    [
        (None, 401, "Bearer"),
        ("prices:read", 403, 'Bearer error="insufficient_scope", scope="quotes:write"'),
    ],
)
def test_a_caller_needs_a_token_with_the_scope(
    app: Flask, scope: str | None, status: int, challenge: str
) -> None:
    headers = {} if scope is None else bearer(app, scope)

    response = app.test_client().post("/quotes", json={"lines": WANTED}, headers=headers)

    assert response.status_code == status
    assert response.headers["WWW-Authenticate"] == challenge
    assert content(response)["status"] == status


def test_each_caller_has_a_separate_rate_limit(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"quotes_limit": "2/hour"}))
    client, headers = app.test_client(), bearer(app, "quotes:write")
    asked = [client.post("/quotes", json={"lines": WANTED}, headers=headers) for _ in range(3)]

    assert [response.status_code for response in asked] == [200, 200, 429]
    assert 0 < int(asked[2].headers["Retry-After"]) <= 3600
    assert asked[1].headers["RateLimit"].startswith('"quotes.quote";r=0;t=')

    another = bearer(app, "quotes:write", "someone else")
    assert client.post("/quotes", json={"lines": WANTED}, headers=another).status_code == 200


def test_a_quote_has_every_line_with_its_price_and_the_total(client: FlaskClient) -> None:
    response = client.post("/quotes", json={"lines": WANTED})

    assert response.status_code == 200
    amounts = [
        (line["symbol"], line["quantity"], Decimal(line["price"]), Decimal(line["amount"]))
        for line in content(response)["lines"]
    ]
    aapl, msft = invented_price("AAPL"), invented_price("MSFT")
    assert amounts == [
        ("AAPL", 3, aapl, 3 * aapl),
        ("MSFT", 1, msft, msft),
        ("AAPL", 2, aapl, 2 * aapl),
    ]
    assert Decimal(content(response)["total"]) == 5 * aapl + msft


def test_a_quote_fetches_all_prices_at_once_and_each_once(app: Flask, client: FlaskClient) -> None:
    # The upstream replies once two requests have arrived, and a third would wait for ever.
    use(app, StubPrices(delay=asyncio.Barrier(2).wait))

    assert client.post("/quotes", json={"lines": WANTED}).status_code == 200


def test_a_missing_price_fails_the_quote(app: Flask, client: FlaskClient) -> None:
    use(app, StubPrices(failing={"MSFT": 503}), retries=0)

    response = client.post("/quotes", json={"lines": WANTED})

    assert response.status_code == 502
    assert content(response)["type"] == "urn:problem-type:upstream-unavailable"
    assert content(response)["detail"] == "No price could be fetched of MSFT."


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/lines"),
        ({"lines": []}, "#/lines"),
        ({"lines": WANTED * 7}, "#/lines"),
        ({"lines": [{"symbol": "AAPL"}]}, "#/lines/0/quantity"),
        ({"lines": [{"symbol": "AAPL", "quantity": "1"}]}, "#/lines/0/quantity"),
        ({"lines": [*WANTED, {"symbol": "aapl", "quantity": 1}]}, "#/lines/3/symbol"),
        ({"lines": WANTED, "limit": 1}, "#/limit"),
    ],
)
def test_a_fault_in_the_body_is_reported_with_its_place(
    client: FlaskClient, body: dict[str, Any], pointer: str
) -> None:
    response = client.post("/quotes", json=body)

    assert response.status_code == 422
    assert content(response)["type"] == "urn:problem-type:invalid-request"
    assert [fault["pointer"] for fault in content(response)["errors"]] == [pointer]
