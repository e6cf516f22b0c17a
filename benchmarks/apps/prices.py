"""Three prices from an upstream that fails: the common part of the services, and naive ways.

A caller waits for a second. A service with a deadline stops 0.1 s earlier, and gives one call two
thirds of its time, like the generated service's settings.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import httpx

from .upstream_calls import CLIENT, URL

DEADLINE_SECONDS = 0.9
CALL_SECONDS = 0.6
CONNECTIONS = 100  # the default of the generated service and of stock httpx
TRIES = 3

_paths = (f"/prices/{number}" for number in itertools.count())

Body = dict[str, dict[str, object]]
Get = Callable[[str], Awaitable[object]]


class NoPriceError(Exception):
    """No price could be fetched."""


class _Opened:
    """This process's function to get a price."""

    get: Get


def three_paths() -> list[str]:
    """Three paths that never repeat, so that no call is shared."""
    return list(itertools.islice(_paths, 3))


@asynccontextmanager
async def opened() -> AsyncIterator[None]:
    """Opens the client of a naive service for a block; for a lifespan."""
    # The default timeout of httpx is 5 s. Each of three tries gets a third of the time.
    own = {"partial": CALL_SECONDS, "tries": DEADLINE_SECONDS / TRIES}
    timeout = httpx.Timeout(own.get(CLIENT, 5.0))
    async with httpx.AsyncClient(base_url=URL, timeout=timeout) as client:
        _Opened.get = partial(_get, client)
        yield


async def naive() -> Body:
    """All three prices, or the first error."""
    paths = three_paths()
    prices = await asyncio.gather(*(_Opened.get(path) for path in paths))
    return {"prices": dict(zip(paths, prices, strict=True)), "failed": {}}


async def with_failures() -> Body:
    """The fetched prices, and the reasons for the missing prices.

    Raises:
        NoPriceError: no price could be fetched.
    """
    get = _with_tries if CLIENT == "tries" else _Opened.get
    paths = three_paths()
    outcomes = await asyncio.gather(*(get(path) for path in paths), return_exceptions=True)
    body: Body = {"prices": {}, "failed": {}}
    for path, outcome in zip(paths, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            body["failed"][path] = repr(outcome)
        else:
            body["prices"][path] = outcome
    if not body["prices"]:
        raise NoPriceError
    return body


async def _get(client: httpx.AsyncClient, path: str) -> object:
    response = await client.get(path)
    response.raise_for_status()
    return response.json()["price"]


async def _with_tries(path: str) -> object:
    for _ in range(TRIES - 1):
        try:
            return await _Opened.get(path)
        except httpx.HTTPError:
            pass
    return await _Opened.get(path)
