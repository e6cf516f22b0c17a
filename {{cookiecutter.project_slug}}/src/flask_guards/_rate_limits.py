"""Rate limits for callers, counted in this process, or in Redis for all replicas together."""

import asyncio
import ipaddress
import logging
import math
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import ParamSpec, TypeVar
from urllib.parse import quote

from flask import Flask, Response, after_this_request, current_app, g, request
from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from werkzeug.exceptions import TooManyRequests

from ._views import checked

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

IPV6_PREFIX = 64  # bits: a customer may use all addresses below it (RFC 6177)
LONGEST_NAME = 128  # characters of a caller's name within a key

# Seconds. If Redis takes longer, it limits nobody, and is not asked again for a while.
PATIENCE = 0.1
PAUSE = 5.0

_LIMITED = "__flask_guards_limited__"

Limit = str | Callable[[], str]

# limits itself reads only the first half of `60/minute;5/second`.
_LIMIT = re.compile(r"[1-9]\d{0,8}/([1-9]\d{0,3})?(second|minute|hour|day|month|year)s?")


@dataclass(frozen=True, slots=True)
class Count:
    """The rest of a caller's limit."""

    allowed: bool
    """Whether this request is within the limit."""
    quota: int
    window: int
    """In seconds."""
    remaining: int
    reset_after: int
    """Seconds until a further request is allowed."""


class _Memory(MemoryStorage):
    """The counts of this process.

    On each hit, limits searches all counts for expired ones. Here that happens once a second, so
    the cost of a hit does not depend on the number of callers.
    """

    _swept_at = 0.0

    async def _MemoryStorage__schedule_expiry(self) -> None:  # noqa: N802 - the name it has there
        if time.monotonic() - self._swept_at < 1:
            return
        self._swept_at = time.monotonic()
        for key in [each for each, end in self.expirations.items() if end <= time.time()]:
            await self.clear(key)


class RateLimits:
    """Counts the requests of callers, in sliding windows.

    Args:
        redis_url: the Redis in which replicas share their counts, such as
            `redis://:password@host:6379/0`; it needs redis. Without it each process counts alone.
        prefix: the prefix of the keys in Redis: the name of the service.
        patience: how long Redis may take, in seconds. When it fails, no request is limited.
        pause: how long Redis is not asked after a failure, in seconds.
    """

    def __init__(
        self,
        redis_url: str | None = None,
        *,
        prefix: str = "rate-limits",
        patience: float = PATIENCE,
        pause: float = PAUSE,
    ) -> None:
        self._url = redis_url
        self._prefix = prefix
        self._patience = patience
        self._pause = pause
        self._asks_again_at = 0.0
        self._is_up = True
        self._memory = SlidingWindowCounterRateLimiter(_Memory())
        self._redis: SlidingWindowCounterRateLimiter | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Keep connections to Redis, if it is used. Before that, this process counts alone."""
        if self._url is None:
            yield
            return
        storage = RedisStorage(
            f"async+{self._url}",
            implementation="redispy",
            key_prefix=self._prefix,
            socket_timeout=self._patience,
            socket_connect_timeout=self._patience,
            # Otherwise each connection reads its version from disk, on the loop.
            driver_info=None,  # type: ignore[arg-type] # limits only knows some options
        )
        self._redis = SlidingWindowCounterRateLimiter(storage)
        try:
            yield
        finally:
            self._redis = None
            await storage.bridge.get_connection().aclose()  # type: ignore[attr-defined] # redis-py's

    async def hit(self, limit: str, *who: str) -> Count | None:
        """Count a request; return the rest of the limit, or None while Redis does not answer.

        `limit` is like `10/second` or `100/5minutes`.

        Raises:
            ValueError: `limit` does not have that form.
        """
        item = _parsed(limit)
        if self._redis is None:
            return await _hit(self._memory, item, who)
        if time.monotonic() < self._asks_again_at:
            return None
        try:
            async with asyncio.timeout(self._patience):
                count = await _hit(self._redis, item, who)
        except Exception as error:  # noqa: BLE001 - whatever it is, requests go on
            self._asks_again_at = time.monotonic() + self._pause
            if self._is_up:
                kind = type(error).__name__  # its text holds the address
                logger.warning("The Redis of the rate limits fails (%s): no limit applies", kind)
            self._is_up = False
            return None
        if not self._is_up:
            self._is_up = True
            logger.warning("The Redis of the rate limits answers again")
        return count


def init_rate_limits(app: Flask, limits: RateLimits) -> None:
    """Let the views of `app` that `rate_limit` guards count with `limits`."""
    app.extensions[__name__] = limits


def rate_limit(
    limit: Limit, *, by: Callable[[], str] | None = None
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator that limits how often each caller may call a view.

    Use it below the route, and below `requires` if the token names the caller. An `async def` view
    stays async.

    The answer has the fields `RateLimit` and `RateLimit-Policy`
    (draft-ietf-httpapi-ratelimit-headers-10). A request above the limit is answered 429 with
    `Retry-After`.

    Args:
        limit: such as `60/minute` or `1000/2hours`, or a function that returns it from a setting.
        by: returns the name under which requests are counted, separately for each view. By default
            it is the subject of the token, otherwise the client's address: of IPv6 64 bits.

    Raises:
        ValueError: `limit` is a text, but does not have that form.
    """
    by = by or caller_or_address
    if isinstance(limit, str):
        _parsed(limit)

    def decorate(view: Callable[P, T]) -> Callable[P, T]:
        limited = checked(view, partial(_count, limit, by))
        setattr(limited, _LIMITED, True)
        return limited

    return decorate


def is_limited(view: Callable[..., object]) -> bool:
    """Return whether `rate_limit` guards a view."""
    return bool(getattr(view, _LIMITED, False))


def caller_or_address() -> str:
    """Return the name of the current request's caller: a subject, or an address."""
    if subject := g.get("subject"):
        return f"sub:{subject}"
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:  # a Unix socket, or a proxy's invented value
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return f"ip:{address.ipv4_mapped}"
        return f"ip:{ipaddress.ip_network((address, IPV6_PREFIX), strict=False)}"
    return f"ip:{address}"


async def _count(limit: Limit, by: Callable[[], str]) -> None:
    limits: RateLimits = current_app.extensions[__name__]
    policy = request.endpoint or ""
    who = quote(by(), safe=":")[:LONGEST_NAME]
    count = await limits.hit(limit if isinstance(limit, str) else limit(), policy, who)
    if count is None:
        return

    async def add_fields(response: Response) -> Response:
        name = policy.replace("\\", "").replace('"', "")
        headers = response.headers
        headers["RateLimit-Policy"] = f'"{name}";q={count.quota};w={count.window}'
        headers["RateLimit"] = f'"{name}";r={count.remaining};t={count.reset_after}'
        return response

    after_this_request(add_fields)
    if not count.allowed:
        detail = f"At most {count.quota} of these requests are answered in {count.window} s."
        raise TooManyRequests(detail, retry_after=count.reset_after)


async def _hit(
    limiter: SlidingWindowCounterRateLimiter, item: RateLimitItem, who: tuple[str, ...]
) -> Count:
    allowed = await limiter.hit(item, *who)
    stats = await limiter.get_window_stats(item, *who)
    reset_after = max(1, math.ceil(stats.reset_time - time.time()))
    return Count(allowed, item.amount, item.get_expiry(), max(0, stats.remaining), reset_after)


def limit_text(text: str) -> str:
    """Return `text`, a limit as `rate_limit` takes it. It validates a setting.

    Raises:
        ValueError: it is not a limit.
    """
    if not _LIMIT.fullmatch(text):
        message = "must be a number of requests in a time, such as 60/minute or 1000/2hours"
        raise ValueError(message)
    return text


@cache  # as many as there are in the code and the settings
def _parsed(limit: str) -> RateLimitItem:
    return parse(limit_text(limit))
