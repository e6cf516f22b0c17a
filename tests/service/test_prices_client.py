"""Odd, deep and endless replies to a price client."""

import random
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction

import pytest
from upstreams import UpstreamInvalid

from ..test_prices_client import answering

pytestmark = pytest.mark.anyio


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
    with suppress(UpstreamInvalid):  # the depth that Python reads depends on its version
        assert await client.price("AAPL") == 1


async def test_a_price_client_ignores_other_numbers_of_a_reply() -> None:
    body = b'{"symbol": "AAPL", "price": 1.5, "more": [0E-999999999999999999, %s]}' % (b"9" * 5000)

    assert await answering(body).price("AAPL") == Decimal("1.5")


async def test_a_price_is_short_and_a_sum_is_exact_for_every_reply() -> None:
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
