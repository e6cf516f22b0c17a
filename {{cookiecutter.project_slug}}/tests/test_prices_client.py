"""The price client: what it asks, and what it takes for a price."""

import random
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction

import httpx
import pytest
from flask import Flask
from pydantic import HttpUrl
from upstreams._errors import UpstreamInvalid
from upstreams._fan_out import fan_out
from upstreams._upstream import Upstream

from {{ cookiecutter.package_name }}.clients.prices import PricesClient
from {{ cookiecutter.package_name }}.clients.stub import invented_price
from {{ cookiecutter.package_name }}.problems import upstream_problem
from {{ cookiecutter.package_name }}.settings import Settings

from .raw_upstream import http, serve_raw
from .survivors import assert_nothing, calling, left_by

pytestmark = pytest.mark.anyio


def answering(body: bytes) -> PricesClient:
    """Return a client whose upstream answers `body` to everything."""
    return PricesClient(
        Upstream(
            "prices",
            "http://prices.invalid",
            timeout=1,
            max_connections=1,
            transport=lambda: httpx.MockTransport(lambda _: httpx.Response(200, content=body)),
        )
    )


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
async def test_a_price_is_the_decimal_that_the_reply_spells(text: str, price: Decimal) -> None:
    client = answering(b'{"symbol": "AAPL", "price": %s}' % text.encode())

    assert await client.price("AAPL") == price


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b"189.31",
        b'{"symbol": "AAPL"}',
        b'{"price": 189.31}',
        b'{"symbol": "MSFT", "price": 189.31}',
        b'{"symbol": "AAPL", "price": null}',
        b'{"symbol": "AAPL", "price": true}',
        b'{"symbol": "AAPL", "price": "189.31"}',
        b'{"symbol": "AAPL", "price": NaN}',
        b'{"symbol": "AAPL", "price": Infinity}',
        b'{"symbol": "AAPL", "price": -0.01}',
        b'{"symbol": "AAPL", "price": -0}',
        b'{"symbol": "AAPL", "price": 1e12}',
        b'{"symbol": "AAPL", "price": 1e999999}',
        b'{"symbol": "AAPL", "price": 1e-999999}',
        b'{"symbol": "AAPL", "price": 1e99999999999999999999}',
        b'{"symbol": "AAPL", "price": 0.0000000000001}',
        b'{"symbol": "AAPL", "price": 0E-400000000}',
        b'{"symbol": "AAPL", "price": 0E-999999999999999999}',
        b'{"symbol": "AAPL", "price": 0E400000000}',
        b'{"symbol": "AAPL", "price": 1E400000000}',
        b'{"symbol": "AAPL", "price": 1E-400000000}',
        b'{"symbol": "AAPL", "price": 0E-99999999999999999999999999}',
        b'{"symbol": "AAPL", "price": ' + b"9" * 5000 + b"}",
        b'{"symbol": "AAPL", "price": ' + b"9" * 900_000 + b"}",
        b'{"symbol": "AAPL", "price": 0.' + b"0" * 5000 + b"}",
        b'{"symbol": "AAPL", "price": -Infinity}',
        b'{"symbol": "AAPL", "price": 1, "price": 2}',
        b'{"symbol": "MSFT", "symbol": "AAPL", "price": 2}',
        b'{"symbol": "AAPL", "price": 2, "more": {"a": 1, "a": 2}}',
        b'{"symbol": "\\ud800AAPL", "price": 1}',
        b'{"symbol": "AAPL", "price": 1}}',
    ],
    ids=lambda body: body[:60].decode(errors="replace"),
)
async def test_a_reply_without_a_usable_price_is_invalid(body: bytes) -> None:
    with pytest.raises(UpstreamInvalid, match="prices sent a reply without a price"):
        await answering(body).price("AAPL")


@pytest.mark.parametrize("depth", [2_500, 10_000, 100_000])
@pytest.mark.parametrize(("opened", "closed"), [(b"[", b"]"), (b'{"a":[', b"]}")])
async def test_a_deep_reply_is_read_or_invalid(depth: int, opened: bytes, closed: bytes) -> None:
    more = opened * depth + closed * depth
    client = answering(b'{"symbol": "AAPL", "price": 1, "more": %s}' % more)
    with suppress(UpstreamInvalid):  # how deep Python reads depends on its version
        assert await client.price("AAPL") == 1


async def test_other_numbers_of_a_reply_may_be_anything() -> None:
    body = b'{"symbol": "AAPL", "price": 1.5, "more": [0E-999999999999999999, %s]}' % (b"9" * 5000)

    assert await answering(body).price("AAPL") == Decimal("1.5")


async def test_whatever_a_reply_says_a_price_is_short_and_a_sum_is_exact() -> None:
    chance = random.Random(11)  # noqa: S311 - no secret
    prices = []
    for _ in range(3000):
        digits = "".join(chance.choices("0123456789", k=chance.randint(1, 30)))
        point = chance.randint(0, len(digits))
        exponent = chance.choice(["", "", f"E{chance.randint(-40, 40)}", "E-999999999", "e+5"])
        text = f"{int(digits[:point] or '0')}.{digits[point:] or '0'}{exponent}"
        try:
            prices.append(
                await answering(b'{"symbol": "AAPL", "price": %s}' % text.encode()).price("AAPL")
            )
        except UpstreamInvalid:
            continue
        assert len(f"{prices[-1]:f}") <= 25
        assert prices[-1] == Decimal(text)

    assert len(prices) > 500
    for _ in range(200):
        some = chance.choices(prices, k=20)
        assert sum(some, Decimal()) == sum(map(Fraction, some))


@pytest.mark.parametrize("kind", ["200", "404", "503", "no-price"])
async def test_a_price_leaves_nothing_for_the_collector(kind: str, app: Flask) -> None:
    async with calling(retry_share=0) as upstream:
        client = PricesClient(upstream)

        async def fetch() -> None:
            result = await fan_out(client.price, [kind, "200"], deadline=5, max_concurrency=5)
            upstream_problem(result.failed.values(), "Nothing arrived.")

        with app.test_request_context():  # one for all: Werkzeug's matching of routes is a cycle
            assert_nothing(await left_by(fetch))


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
async def test_a_symbol_stays_one_segment_of_the_path_on_the_wire(symbol: str, path: str) -> None:
    async with serve_raw(http(b"{}")) as served:
        client = PricesClient(Upstream("prices", served.base_url, timeout=5, max_connections=1))
        with pytest.raises(UpstreamInvalid):
            await client.price(symbol)

    [head] = served.heads
    assert head.startswith(f"GET {path} HTTP/1.1\r\n")


@pytest.mark.parametrize("symbol", ["", ".", ".."])
async def test_a_symbol_that_would_change_the_path_is_refused(symbol: str) -> None:
    with pytest.raises(ValueError, match="is not a symbol"):
        await answering(b"").price(symbol)


async def test_without_a_configured_upstream_the_stub_answers(settings: Settings) -> None:
    client = PricesClient.from_settings(settings.model_copy(update={"stub_delay_ms": 0}))

    assert await client.price("AAPL") == invented_price("AAPL")


async def test_the_configured_upstream_is_asked(settings: Settings) -> None:
    async with serve_raw(http(b'{"symbol": "AAPL", "price": 1.50}')) as served:
        base_url = HttpUrl(f"{served.base_url}/v1")
        client = PricesClient.from_settings(
            settings.model_copy(update={"prices_base_url": base_url})
        )
        price = await client.price("AAPL")

    assert str(price) == "1.50"
    assert served.heads[0].startswith("GET /v1/prices/AAPL HTTP/1.1\r\n")


async def test_prices_are_kept_where_the_settings_say_so(settings: Settings) -> None:
    reply = http(b'{"symbol": "AAPL", "price": 1.50}', "Cache-Control: max-age=60")
    async with serve_raw(reply) as served:
        base_url = HttpUrl(served.base_url)
        client = PricesClient.from_settings(
            settings.model_copy(update={"prices_base_url": base_url, "prices_cache": True})
        )
        async with client.upstream.open():
            prices = [await client.price("AAPL") for _ in range(2)]

    assert prices == [Decimal("1.50")] * 2
    assert len(served.heads) == 1
