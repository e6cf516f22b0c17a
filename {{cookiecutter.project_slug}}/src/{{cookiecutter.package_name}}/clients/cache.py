"""Replies that are used again for as long as their `Cache-Control` allows (RFC 9111).

It needs the extra `cache`, and is imported only where it is switched on.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anysqlite
import httpx
from hishel import AsyncBaseStorage, AsyncRedisStorage, AsyncSqliteStorage
from hishel.httpx import AsyncCacheTransport
from redis.asyncio import BlockingConnectionPool, Redis

from .pool import Cache, Fetch

MAX_BYTES = 64 * 1024 * 1024  # of a process's own memory; a Redis server has limits of its own

# A cache that takes longer than this is no help: an entry is then not found, or not kept.
REDIS_TIMEOUT = 0.25  # seconds
REDIS_CONNECTIONS = 50

_FETCH = "fetch"


class _Fetch(httpx.AsyncBaseTransport):
    """What the cache takes for the way to the upstream."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        fetch: Fetch = request.extensions[_FETCH]
        return await fetch()


@asynccontextmanager
async def open_cache(redis_url: str | None) -> AsyncIterator[Cache]:
    """Keep replies in Redis, which all replicas share, or without a URL in this process.

    They are kept for every user alike. So nothing is that is marked `private` or, unless it is
    marked `public`, answers a request with an `Authorization` (RFC 9111 section 3.5).
    """
    storage: AsyncBaseStorage
    if redis_url is None:
        memory = await anysqlite.connect(":memory:", isolation_level=None)
        storage = AsyncSqliteStorage(connection=memory, max_size=MAX_BYTES)
    else:
        pool = BlockingConnectionPool.from_url(
            redis_url,
            max_connections=REDIS_CONNECTIONS,
            timeout=REDIS_TIMEOUT,
            socket_timeout=REDIS_TIMEOUT,
            socket_connect_timeout=REDIS_TIMEOUT,
            driver_info=None,  # else each connection looks up its version on the disk, on the loop
        )
        storage = AsyncRedisStorage(Redis.from_pool(pool))
    cache = AsyncCacheTransport(_Fetch(), storage, rfc=True)

    async def answer(request: httpx.Request, fetch: Fetch) -> httpx.Response:
        request.extensions[_FETCH] = fetch
        response = await cache.handle_async_request(request)
        await response.aread()
        return response

    try:
        yield answer
    finally:
        await storage.close()
