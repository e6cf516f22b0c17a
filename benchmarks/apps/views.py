"""The views of `whole.py` in FastAPI, on a router that any application can include.

Views that call an upstream use the template's client, or only aiohttp if the variable BENCH_CLIENT
is "aiohttp".
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Annotated, Any

import aiohttp
from fastapi import APIRouter, Body, HTTPException, Query
from fastapi.responses import JSONResponse

from .report import report as made_report
from .service_prices import CALL, CONNECTIONS, DEADLINE, URL, valid

CLIENT = os.environ.get("BENCH_CLIENT", "template")

router = APIRouter()


@router.get("/livez")
async def livez() -> dict[str, str]:
    """Answers while the loop runs."""
    return {"status": "alive"}


@router.get("/nothing")
async def nothing() -> dict[str, bool]:
    """Does nothing, on the event loop."""
    return {"ok": True}


@router.get("/sync/nothing")
def sync_nothing() -> dict[str, bool]:
    """Does nothing, in a thread."""
    return {"ok": True}


@router.post("/report")
async def report(order: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
    """Answers 2 KB of JSON with 10 KB."""
    return made_report(order)


class _Opened:
    """The client of this process."""

    session: aiohttp.ClientSession
    upstream: Any


@asynccontextmanager
async def opened() -> AsyncIterator[None]:
    """Opens the client for a block; for a lifespan."""
    if CLIENT == "aiohttp":
        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        timeout = aiohttp.ClientTimeout(total=DEADLINE)
        async with aiohttp.ClientSession(URL, connector=connector, timeout=timeout) as session:
            _Opened.session = session
            yield
    else:
        from upstreams import Upstream  # noqa: PLC0415 - not every environment has it

        _Opened.upstream = Upstream("prices", URL, timeout=CALL, max_connections=CONNECTIONS)
        async with _Opened.upstream.open():
            yield


@router.get("/prices")
async def prices(symbol: Annotated[list[str], Query()]) -> JSONResponse:
    """Answers with the prices that arrived; 502 without any price."""
    if not valid(symbol):
        raise HTTPException(400)
    found = await (_gathered(symbol) if CLIENT == "aiohttp" else _fanned_out(symbol))
    return JSONResponse(found, 200 if found["prices"] else 502)


async def _gathered(symbols: list[str]) -> dict[str, Any]:
    began = time.perf_counter()
    waits: list[dict[str, Any]] = []

    async def price(symbol: str) -> Decimal:
        start = time.perf_counter() - began
        async with _Opened.session.get(f"/prices/{symbol}") as reply:
            reply.raise_for_status()
            found = await reply.json()
        waits.append(_wait(symbol, start, time.perf_counter() - began))
        return Decimal(str(found["price"]))

    outcomes = await asyncio.gather(*map(price, symbols), return_exceptions=True)
    named = dict(zip(symbols, outcomes, strict=True))
    return _body(
        {name: price for name, price in named.items() if isinstance(price, Decimal)},
        {name: error for name, error in named.items() if isinstance(error, Exception)},
        waits,
    )


async def _fanned_out(symbols: list[str]) -> dict[str, Any]:
    from upstreams import fan_out  # noqa: PLC0415 - as above

    result = await fan_out(_price, symbols, deadline=DEADLINE, max_concurrency=10)
    waits = [_wait(call.key, call.start, call.end) for call in result.calls]
    return _body(result.arrived, result.failed, waits)


async def _price(symbol: str) -> Decimal:
    response = await _Opened.upstream.get(f"/prices/{symbol}")
    return Decimal(str(response.json()["price"]))


def _wait(symbol: str, start: float, end: float) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "start_ms": round(start * 1000, 1),
        "end_ms": round(end * 1000, 1),
    }


def _body(
    prices: Mapping[str, Decimal],
    failed: Mapping[str, BaseException],
    waits: list[dict[str, Any]],
) -> dict[str, Any]:
    return {
        "prices": {name: f"{price:f}" for name, price in prices.items()},
        "total": f"{sum(prices.values(), Decimal()):f}",
        "failed": {name: repr(error) for name, error in failed.items()},
        "waits": waits,
    }
