"""`/prices`: several prices at once, partial failures, and refused requests."""

import asyncio
import json
import re
import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from blockbuster import BlockingError
from flask import Flask
from flask.testing import FlaskClient
from upstreams import Upstream
from werkzeug.test import TestResponse

from {{ cookiecutter.package_name }}.clients.prices import PricesClient
from {{ cookiecutter.package_name }}.clients.stub import (
    Failure,
    StubPrices,
    invented_price,
)
from {{ cookiecutter.package_name }}.parts import parts

THREE = "/prices?symbol=AAPL&symbol=MSFT&symbol=GOOG"


def use(
    app: Flask, stub: StubPrices, *, timeout: float = 5, retries: int = 2, **settings: float
) -> None:
    """Make `stub` the upstream of `app`, and change its settings."""
    prices = parts(app).settings.prices.model_copy(update=settings)
    changed = parts(app).settings.model_copy(update={"prices": prices})
    replace(parts(app), settings=changed).keep_in(app)
    parts(app).clients.prices = PricesClient(
        Upstream(
            "prices",
            "http://stub.invalid",
            timeout=timeout,
            max_connections=10,
            max_retries=retries,
            transport=stub.transport,
        )
    )


def content(response: TestResponse) -> dict[str, Any]:
    """Return the JSON object of a response."""
    return dict(json.loads(response.data))


def test_all_prices_are_fetched_at_once(app: Flask, client: FlaskClient) -> None:
    # The upstream sends no reply before all three requests have arrived.
    use(app, StubPrices(delay=asyncio.Barrier(3).wait))

    response = client.get(THREE)

    assert response.status_code == 200
    assert set(content(response)["prices"]) == {"AAPL", "MSFT", "GOOG"}


def test_prices_one_after_another_never_pass_that_barrier(app: Flask, client: FlaskClient) -> None:
    @app.get("/in-turn")
    async def in_turn() -> dict[str, str]:
        prices = parts().clients.prices
        return {symbol: str(await prices.price(symbol)) for symbol in ("AAPL", "MSFT", "GOOG")}

    use(app, StubPrices(delay=asyncio.Barrier(3).wait), timeout=0.1)

    assert client.get("/in-turn").status_code == 504


def test_the_body_has_the_prices_their_exact_total_and_the_waits(client: FlaskClient) -> None:
    body = content(client.get(THREE))

    symbols = ["AAPL", "MSFT", "GOOG"]
    assert body["prices"] == {symbol: str(invented_price(symbol)) for symbol in symbols}
    assert Decimal(body["total"]) == sum(invented_price(symbol) for symbol in symbols)
    assert body["failed"] == {}
    assert [wait["symbol"] for wait in body["waits"]] == symbols
    for wait in body["waits"]:
        assert 0 <= wait["start_ms"] <= wait["end_ms"] <= body["elapsed_ms"]
    waits = sum(wait["end_ms"] - wait["start_ms"] for wait in body["waits"])
    assert body["sum_of_waits_ms"] == pytest.approx(waits, abs=1)


def test_server_timing_has_a_metric_for_each_call_and_their_total(client: FlaskClient) -> None:
    response = client.get(THREE)

    metrics = [each.split(";dur=") for each in response.headers["Server-Timing"].split(", ")]
    assert [name for name, _ in metrics] == ["AAPL", "MSFT", "GOOG", "total"]
    assert metrics[-1][1] == str(content(response)["elapsed_ms"])
    assert all(re.fullmatch(r"\d+\.\d", duration) for _, duration in metrics)


def test_a_symbol_that_is_given_twice_is_fetched_once(client: FlaskClient) -> None:
    body = content(client.get("/prices?symbol=B&symbol=A&symbol=B"))

    assert [wait["symbol"] for wait in body["waits"]] == ["B", "A"]


def test_failed_symbols_are_reported_with_the_prices(app: Flask, client: FlaskClient) -> None:
    stub = StubPrices(failing={"MSFT": 503, "GOOG": "hang"})
    use(app, stub, retries=0, deadline_seconds=0.2)

    response = client.get(THREE)

    assert response.status_code == 200
    assert content(response)["prices"] == {"AAPL": str(invented_price("AAPL"))}
    assert content(response)["total"] == str(invented_price("AAPL"))
    assert content(response)["failed"] == {
        "MSFT": {"type": "UpstreamUnavailable", "detail": "prices answered 503"},
        "GOOG": {"type": "DeadlineExceeded", "detail": "no answer within 0.2 s"},
    }


@pytest.mark.parametrize(
    ("failing", "status"),
    [
        ({"AAPL": 503, "MSFT": 404}, 502),
        ({"AAPL": "hang", "MSFT": 404}, 502),
        ({"AAPL": "hang", "MSFT": "hang"}, 504),
    ],
)
def test_without_any_price_the_problem_names_the_causes(
    app: Flask, client: FlaskClient, failing: dict[str, Failure], status: int
) -> None:
    use(app, StubPrices(failing=failing), timeout=0.2, retries=0)

    response = client.get("/prices?symbol=AAPL&symbol=MSFT")

    assert response.status_code == content(response)["status"] == status
    assert response.content_type == "application/problem+json"
    assert set(content(response)["failed"]) == {"AAPL", "MSFT"}
    assert content(response)["prices"] == {}
    assert content(response)["total"] == "0"
    assert len(content(response)["waits"]) == 2
    assert "total;dur=" in response.headers["Server-Timing"]


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("", "Field required"),
        ("?" + "&".join(f"symbol=A{number}" for number in range(21)), "List should have"),
        ("?symbol=", "String should match pattern"),
        ("?symbol=aapl", "String should match pattern"),
        ("?symbol=AAPL&symbol=..", "String should match pattern"),
    ],
)
def test_invalid_symbols_are_refused_with_the_accepted_form(
    client: FlaskClient, query: str, wrong: str
) -> None:
    response = client.get(f"/prices{query}")

    assert response.status_code == 422
    assert response.content_type == "application/problem+json"
    [fault] = content(response)["errors"]
    assert fault["parameter"] == "symbol"
    assert fault["detail"].startswith(wrong)


@pytest.mark.parametrize("symbol", ["A", "BRK.B", "RDS-A", "ABCDEFGHI9"])
def test_valid_symbols_are_accepted(client: FlaskClient, symbol: str) -> None:
    response = client.get(f"/prices?symbol={symbol}")

    assert list(content(response)["prices"]) == [symbol]


def test_a_bug_is_raised_and_not_reported_as_a_failed_symbol(
    app: Flask, client: FlaskClient
) -> None:
    async def block() -> None:
        time.sleep(0.001)  # noqa: ASYNC251 - the bug

    use(app, StubPrices(delay=block))

    with pytest.raises(BlockingError):
        client.get(THREE)
