"""The embedded upstream, without the service."""

import httpx
import pytest

from {{ cookiecutter.package_name }}.clients.stub import (
    StubPrices,
    invented_price,
)

pytestmark = pytest.mark.anyio


def talk_to(stub: StubPrices) -> httpx.AsyncClient:
    """Return a client that calls `stub` without a socket."""
    return httpx.AsyncClient(transport=stub.transport(), base_url="http://stub.invalid")


async def test_a_symbol_has_the_same_price_every_time() -> None:
    async with talk_to(StubPrices()) as client:
        first, again, other = [
            (await client.get(f"/prices/{symbol}")).json() for symbol in ("AAPL", "AAPL", "MSFT")
        ]

    assert first == again == {"symbol": "AAPL", "price": float(invented_price("AAPL"))}
    assert other["price"] != first["price"]


async def test_a_symbol_can_be_made_to_fail() -> None:
    async with talk_to(StubPrices(failing={"AAPL": 503})) as client:
        failed, fine = await client.get("/prices/AAPL"), await client.get("/prices/MSFT")

    assert failed.status_code == 503
    assert fine.status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/prices/"), ("POST", "/prices/AAPL")]
)
async def test_any_other_path_or_method_gets_404(method: str, path: str) -> None:
    async with talk_to(StubPrices()) as client:
        response = await client.request(method, path)

    assert response.status_code == 404
