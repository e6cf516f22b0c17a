"""An HTTP cache: reuses replies for as long as their `Cache-Control` allows (RFC 9111).

This module needs hishel, anysqlite and redis, so `upstreams` imports it only at its first use.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from http import HTTPStatus

import anysqlite
import httpx
from hishel import AsyncBaseStorage, AsyncRedisStorage, AsyncSqliteStorage, Entry
from hishel.httpx import AsyncCacheTransport
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from ._pool import Cache, Fetch

logger = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024 * 1024  # of the memory of this process; a Redis server has its own limit

# Seconds. If the cache takes longer, its entry counts as not found, and a reply is not stored.
REDIS_TIMEOUT = 0.25
REDIS_CONNECTIONS = 50

_FETCH = "fetch"


class _Fetch(httpx.AsyncBaseTransport):
    """The transport that makes the call when the cache needs a fresh reply."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        fetch: Fetch = request.extensions[_FETCH]
        response = await fetch()
        is_new = response.status_code != HTTPStatus.NOT_MODIFIED
        is_failure = is_new and not response.is_success
        if "Set-Cookie" in response.headers or is_failure:
            # A cookie names a user, and the next user would get it (RFC 6265 section 3). A failure
            # that this caller accepts is an error for the next caller.
            response.headers["Cache-Control"] = "no-store"
        return response


class _Redis(AsyncRedisStorage):
    """Keeps replies in Redis, and logs when Redis begins to fail and when it works again.

    hishel logs an error with its traceback for each command that fails, several for each call.
    """

    is_up = True
    errors = 0

    async def get_entries(self, key: str) -> list[Entry]:
        """Return the entries under `key`; the first command of every call."""
        errors = self.errors
        entries = await super().get_entries(key)
        if errors == self.errors and not self.is_up:
            self.is_up = True
            logger.warning("the Redis of the cache answers again")
        return entries

    def failed(self, error: BaseException) -> None:
        """Record that a command failed."""
        self.errors += 1
        if self.is_up:
            self.is_up = False
            kind = type(error).__name__  # its text holds the address
            logger.warning("the Redis of the cache fails (%s): no reply is cached", kind)


_redis: ContextVar[_Redis | None] = ContextVar("redis", default=None)


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether to log hishel's record: not if it is about a failure of Redis."""
    error = record.exc_info[1] if record.exc_info else None
    storage = _redis.get()
    if storage is None or not isinstance(error, RedisError):
        return True
    storage.failed(error)
    return False


@asynccontextmanager
async def open_cache(redis_url: str | None) -> AsyncIterator[Cache]:
    """Keep replies in Redis, which all replicas share, or without a URL in this process.

    For `Upstream(cache=...)`: `functools.partial(open_cache, None)`. The stored replies are for
    every user, so `private` replies are never stored. A call with `Authorization` or `Cookie` does
    not use the cache, not even for the `public` replies of RFC 9111 section 3.5, and a reply with
    `Set-Cookie` is not stored: all of them name a user.
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
            driver_info=None,  # otherwise each connection reads its version from disk, on the loop
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
