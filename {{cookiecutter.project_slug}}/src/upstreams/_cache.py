"""Replies that are used again for as long as their `Cache-Control` allows (RFC 9111).

It needs the extra `cache`, and is imported only where it is switched on.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import anysqlite
import httpx
from hishel import AsyncBaseStorage, AsyncRedisStorage, AsyncSqliteStorage, Entry
from hishel.httpx import AsyncCacheTransport
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from ._pool import Cache, Fetch

logger = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024 * 1024  # of a process's own memory; a Redis server has limits of its own

# A cache that takes longer than this is no help: an entry is then not found, or not kept.
REDIS_TIMEOUT = 0.25  # seconds
REDIS_CONNECTIONS = 50

_FETCH = "fetch"


class _Fetch(httpx.AsyncBaseTransport):
    """What the cache takes for the way to the upstream."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        fetch: Fetch = request.extensions[_FETCH]
        response = await fetch()
        if "Set-Cookie" in response.headers:
            # It names a user, and would be given to the next one (RFC 6265 section 3).
            response.headers["Cache-Control"] = "no-store"
        return response


class _Redis(AsyncRedisStorage):
    """Keeps replies in Redis, and says when that begins to fail and when it works again.

    hishel logs an error with its traceback for each command that fails, several for each call.
    """

    is_up = True
    errors = 0

    async def get_entries(self, key: str) -> list[Entry]:
        """Return what is kept under `key`; every call asks for it first."""
        errors = self.errors
        entries = await super().get_entries(key)
        if errors == self.errors and not self.is_up:
            self.is_up = True
            logger.warning("the Redis of the cache answers again")
        return entries

    def failed(self, error: BaseException) -> None:
        """Note that a command failed."""
        self.errors += 1
        if self.is_up:
            self.is_up = False
            kind = type(error).__name__  # its text holds the address
            logger.warning("the Redis of the cache fails (%s): no reply is kept meanwhile", kind)


_redis: ContextVar[_Redis | None] = ContextVar("redis", default=None)


def _is_news(record: logging.LogRecord) -> bool:
    """Tell whether hishel's record is to be logged: not when it is about a Redis that fails."""
    error = record.exc_info[1] if record.exc_info else None
    storage = _redis.get()
    if storage is None or not isinstance(error, RedisError):
        return True
    storage.failed(error)
    return False


@asynccontextmanager
async def open_cache(redis_url: str | None) -> AsyncIterator[Cache]:
    """Keep replies in Redis, which all replicas share, or without a URL in this process.

    They are kept for every user alike, so nothing is kept that is marked `private`. A call with an
    `Authorization` or a `Cookie` has no part in it, not even where RFC 9111 section 3.5 lets a
    reply be `public`, and a reply with a `Set-Cookie` is not kept: all of them name a user.
    """
    storage: AsyncBaseStorage
    redis: _Redis | None = None
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
        storage = redis = _Redis(Redis.from_pool(pool))
        logging.getLogger(AsyncRedisStorage.__module__).addFilter(_is_news)
    cache = AsyncCacheTransport(_Fetch(), storage, rfc=True)

    async def answer(request: httpx.Request, fetch: Fetch) -> httpx.Response:
        if "Cookie" in request.headers or "Authorization" in request.headers:
            return await fetch()
        request.extensions[_FETCH] = fetch
        _redis.set(redis)
        response = await cache.handle_async_request(request)
        await response.aread()
        return response

    try:
        yield answer
    finally:
        await storage.close()
