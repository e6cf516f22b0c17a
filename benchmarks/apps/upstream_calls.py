"""Three concurrent calls of an upstream: with the template's client, or with stock httpx.

Each peer opens its client in its lifespan and keeps it for the life of the process. Stock httpx
runs with its own limits (100 connections, 20 of them kept), which are its fastest, and with the
template client's limits.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
from upstreams import Upstream

URL = os.environ.get("BENCH_UPSTREAM", "http://127.0.0.1:1")
CLIENT = os.environ.get("BENCH_CLIENT", "template")
TIMEOUT = 30.0
CONNECTIONS = 5000
LIMITS = {
    "stock": httpx.Limits(max_connections=100, max_keepalive_connections=20),
    "raised": httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
}

Get = Callable[[str], Awaitable[httpx.Response]]


class _Opened:
    """This process's function to call the upstream."""

    get: Get


@asynccontextmanager
async def opened() -> AsyncIterator[None]:
    """Opens the client for a block; for a lifespan."""
    if CLIENT == "template":
        upstream = Upstream(
            "upstream",
            URL,
            timeout=TIMEOUT,
            max_connections=CONNECTIONS,
            coalesce=False,  # otherwise identical calls of several requests would be shared
        )
        async with upstream.open():
            _Opened.get = upstream.get
            yield
    else:
        async with httpx.AsyncClient(
            base_url=URL, timeout=TIMEOUT, limits=LIMITS[CLIENT]
        ) as client:
            _Opened.get = client.get
            yield


async def three_calls() -> dict[str, list[int]]:
    """The prices of three concurrent calls."""
    replies = await asyncio.gather(*(_Opened.get(f"/prices/{number}") for number in range(3)))
    return {"prices": [reply.json()["price"] for reply in replies]}
