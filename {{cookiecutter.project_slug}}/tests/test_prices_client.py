"""The price client: the requests that it sends, and the replies that it accepts as a price."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import httpx
import pytest
from upstreams import UpstreamInvalid, UpstreamSettings

from {{ cookiecutter.package_name }}.clients.prices import PricesClient
from {{ cookiecutter.package_name }}.clients.stub import invented_price
from {{ cookiecutter.package_name }}.settings import PricesSettings, Settings

pytestmark = pytest.mark.anyio


def answering(body: bytes, *asked: list[bytes]) -> PricesClient:
    """Return a client whose upstream answers every request with `body` and notes the paths."""

    def answer(request: httpx.Request) -> httpx.Response:
        for paths in asked:
            paths.append(request.url.raw_path)
        return httpx.Response(200, content=body)

    def stub() -> httpx.MockTransport:
        return httpx.MockTransport(answer)

    return PricesClient(UpstreamSettings().upstream("prices", stub=stub))


@asynccontextmanager
async def serving(reply: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answer every request on a free port, and yield the URL and the heads of the requests."""
    heads: list[bytes] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + reply)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield "http://{}:{}".format(*server.sockets[0].getsockname()), heads


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("189.31", Decimal("189.31")),
        ("0.1", Decimal("0.1")),
        ("0", Decimal(0)),
        ("0.10", Decimal("0.10")),
        ("1e3", Decimal(1000)),
        ("0E-12", Decimal(0)),
        ("0E+11", Decimal(0)),
        ("1." + "0" * 30, Decimal(1)),
        ("1.500000000000000000", Decimal("1.5")),
        ("999999999999.999999999999", Decimal("999999999999.999999999999")),
    ],
)
async def test_a_price_is_the_exact_decimal_of_the_reply(text: str, price: Decimal) -> None:
    client = answering(b'{"symbol": "AAPL", "price": %s}' % text.encode())

    assert await client.price("AAPL") == price


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"symbol": "AAPL"}',
        b'{"symbol": "MSFT", "price": 189.31}',
        b'{"symbol": "AAPL", "price": "189.31"}',
        b'{"symbol": "AAPL", "price": NaN}',
        b'{"symbol": "AAPL", "price": -0.01}',
        b'{"symbol": "AAPL", "price": 1e12}',
        b'{"symbol": "AAPL", "price": 0E-400000000}',
        b'{"symbol": "AAPL", "price": 1, "price": 2}',
    ],
)
async def test_a_reply_without_a_usable_price_is_invalid(body: bytes) -> None:
    with pytest.raises(UpstreamInvalid, match="prices sent a reply without a price"):
        await answering(body).price("AAPL")


async def test_an_error_keeps_no_invalid_reply_alive() -> None:
    with pytest.raises(UpstreamInvalid) as error:
        await answering(b'{"symbol": "AAPL"}').price("AAPL")

    assert error.value.__context__ is None


@pytest.mark.parametrize(
    ("symbol", "path"),
    [
        ("BRK.B", "/prices/BRK.B"),
        ("A/B", "/prices/A%2FB"),
        ("A%2FB", "/prices/A%252FB"),
        ("A?b#c", "/prices/A%3Fb%23c"),
        ("../admin", "/prices/..%2Fadmin"),
        ("A B\r\n", "/prices/A%20B%0D%0A"),
        ("\u00e9", "/prices/%C3%A9"),
    ],
)
async def test_a_symbol_stays_one_segment_of_the_path(symbol: str, path: str) -> None:
    asked: list[bytes] = []
    with pytest.raises(UpstreamInvalid):
        await answering(b"", asked).price(symbol)

    assert asked == [path.encode()]


@pytest.mark.parametrize("symbol", ["", ".", ".."])
async def test_a_symbol_that_would_change_the_path_is_refused(symbol: str) -> None:
    with pytest.raises(ValueError, match="is not a symbol"):
        await answering(b"").price(symbol)


async def test_without_a_configured_upstream_the_stub_answers(settings: Settings) -> None:
    client = PricesClient.from_settings(settings.model_copy(update={"stub_delay_ms": 0}))

    assert await client.price("AAPL") == invented_price("AAPL")


async def test_the_configured_upstream_is_called(settings: Settings) -> None:
    body = b'{"symbol": "AAPL", "price": 1.50}'
    reply = b"Cache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    async with serving(reply) as (url, heads):
        prices = PricesSettings.model_validate({"base_url": f"{url}/v1", "cache": True})
        client = PricesClient.from_settings(settings.model_copy(update={"prices": prices}))
        async with client.upstream.open():
            twice = [await client.price("AAPL") for _ in range(2)]

    assert twice == [Decimal("1.50")] * 2
    [head] = heads
    assert head.startswith(b"GET /v1/prices/AAPL HTTP/1.1\r\n")
