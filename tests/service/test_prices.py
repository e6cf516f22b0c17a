"""`/prices` in depth: barriers, unusable prices, and every invalid symbol."""

import asyncio

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient
from upstreams import Upstream

from price_service.clients.prices import PricesClient
from price_service.clients.stub import Failure, StubPrices
from price_service.parts import parts

from ..test_prices import THREE, content, use


def test_calls_one_after_another_never_pass_the_barrier(app: Flask, client: FlaskClient) -> None:
    barrier = asyncio.Barrier(3)
    use(app, StubPrices(delay=barrier.wait), max_concurrency=1, deadline_seconds=0.1)

    assert client.get(THREE).status_code == 504


def test_the_body_says_whether_the_waits_overlapped(app: Flask, client: FlaskClient) -> None:
    barrier = asyncio.Barrier(3)

    async def together() -> None:
        await barrier.wait()
        await asyncio.sleep(0.02)

    use(app, StubPrices(delay=together))
    assert content(client.get(THREE))["concurrent"] is True

    use(app, StubPrices())
    assert content(client.get("/prices?symbol=AAPL"))["concurrent"] is False


@pytest.mark.parametrize(
    ("failing", "status"),
    [
        ({"AAPL": 503, "MSFT": 404}, 502),
        ({"AAPL": "hang", "MSFT": 404}, 502),
        ({"AAPL": "hang", "MSFT": "hang"}, 504),
    ],
)
@pytest.mark.parametrize("first", ["the call's timeout", "the deadline"])
def test_without_any_price_the_problem_names_the_causes(
    app: Flask, client: FlaskClient, failing: dict[str, Failure], status: int, first: str
) -> None:
    timeout, deadline = (5, 0.5) if first == "the deadline" else (0.5, 5)
    stub = StubPrices(failing=failing)
    use(app, stub, timeout=timeout, retries=0, deadline_seconds=deadline)

    response = client.get("/prices?symbol=AAPL&symbol=MSFT")

    assert response.status_code == content(response)["status"] == status
    assert response.content_type == "application/problem+json"
    assert set(content(response)["failed"]) == {"AAPL", "MSFT"}
    assert content(response)["prices"] == {}
    assert content(response)["total"] == "0"
    assert len(content(response)["waits"]) == 2
    assert "total;dur=" in response.headers["Server-Timing"]


@pytest.mark.parametrize(
    "price",
    ["0E-400000000", "0E-999999999999999999", "1E400000000", "9" * 5000, "NaN", '"1"', "[" * 3000],
    ids=lambda price: price[:20],
)
def test_an_unusable_price_fails_its_symbol_only(
    app: Flask, client: FlaskClient, price: str
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        symbol = request.url.path.rpartition("/")[2]
        given = price if symbol == "MSFT" else "1.50"
        body = '{"symbol": "SYMBOL", "price": PRICE}'
        return httpx.Response(200, content=body.replace("SYMBOL", symbol).replace("PRICE", given))

    transport = httpx.MockTransport(answer)
    parts(app).clients.prices = PricesClient(
        Upstream(
            "prices", "http://p.invalid", timeout=5, max_connections=9, transport=lambda: transport
        )
    )
    response = client.get(THREE)

    assert response.status_code == 200
    assert content(response)["prices"] == {"AAPL": "1.50", "GOOG": "1.50"}
    assert content(response)["total"] == "3.00"
    assert content(response)["failed"]["MSFT"]["type"] == "UpstreamInvalid"
    assert len(response.data) < 2000
    assert client.get("/prices?symbol=MSFT").status_code == 502


@pytest.mark.parametrize("wait", ["9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT", "-5", "soon"])
def test_the_retry_after_of_an_upstream_is_bounded(
    app: Flask, client: FlaskClient, wait: str
) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(429, headers={"Retry-After": wait})

    parts(app).clients.prices = PricesClient(
        Upstream(
            "prices",
            "http://prices.invalid",
            timeout=5,
            max_connections=9,
            max_retries=0,
            transport=lambda: httpx.MockTransport(answer),
        )
    )
    response = client.get(THREE)

    assert response.status_code == 502
    assert int(response.headers.get("Retry-After", "0")) <= 86_400


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("", "Field required"),
        ("?symbols=AAPL", "Field required"),
        ("?" + "&".join(f"symbol=A{number}" for number in range(21)), "List should have"),
        ("?symbol=", "String should match"),
        ("?symbol=aapl", "String should match"),
        ("?symbol=AAPL&symbol=AAPL%0A", "String should match"),
        ("?symbol=..", "String should match"),
        ("?symbol=1A", "String should match"),
        ("?symbol=A%2FB", "String should match"),
        ("?symbol=%C3%84", "String should match"),
        ("?symbol=%FF", "String should match"),
        ("?symbol=ABCDEFGHIJK", "String should match"),
        ("?symbol=" + "A" * 5000, "String should match"),
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
    assert len(response.data) < 1000
