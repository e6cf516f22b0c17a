"""The `/prices` of a peer: the generated service's rules, in plain asyncio and aiohttp."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp

URL = os.environ.get("BENCH_UPSTREAM", "http://127.0.0.1:1")

# The defaults of the generated service. Times are in seconds.
CONNECTIONS = int(os.environ.get("BENCH_CONNECTIONS", "100"))
DEADLINE = float(os.environ.get("BENCH_DEADLINE", "3"))
CALL = float(os.environ.get("BENCH_CALL", "2"))
AT_ONCE = int(os.environ.get("BENCH_AT_ONCE", "10"))
MAX_SYMBOLS = 20
SYMBOL = re.compile(r"[A-Z][A-Z0-9.-]{0,9}")


class _Opened:
    """The client of this process."""

    session: aiohttp.ClientSession


@asynccontextmanager
async def opened() -> AsyncIterator[None]:
    """Opens the client for a block; for a lifespan."""
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(URL, connector=connector) as session:
        _Opened.session = session
        yield


def valid(symbols: list[str]) -> bool:
    """Whether these symbols are valid."""
    return 1 <= len(symbols) <= MAX_SYMBOLS and all(map(SYMBOL.fullmatch, symbols))


async def answer(symbols: list[str]) -> tuple[int, dict[str, Any]]:
    """The status and the body: the prices that arrived in time, and the other calls' errors."""
    stop_at = asyncio.get_running_loop().time() + DEADLINE
    turns = asyncio.Semaphore(AT_ONCE)

    async def outcome(symbol: str) -> Decimal | Exception:
        try:
            async with asyncio.timeout_at(stop_at), turns, asyncio.timeout(CALL):
                return await _price(symbol)
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            return error

    outcomes = await asyncio.gather(*map(outcome, symbols))
    named = dict(zip(symbols, outcomes, strict=True))
    prices = {name: price for name, price in named.items() if isinstance(price, Decimal)}
    failed = {name: repr(error) for name, error in named.items() if isinstance(error, Exception)}
    body = {
        "prices": {name: f"{price:f}" for name, price in prices.items()},
        "total": f"{sum(prices.values(), Decimal()):f}",
        "failed": failed,
    }
    if prices:
        return 200, body
    late = all(isinstance(error, TimeoutError) for error in outcomes)
    return (504 if late else 502), body


async def _price(symbol: str) -> Decimal:
    async with _Opened.session.get(f"/prices/{symbol}") as reply:
        reply.raise_for_status()
        found = await reply.json()
    if found["symbol"] != symbol:
        message = "the price of another symbol"
        raise ValueError(message)
    return Decimal(str(found["price"]))
