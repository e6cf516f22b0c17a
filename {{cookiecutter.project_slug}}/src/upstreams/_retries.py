"""Whether a call that failed is tried again, and when."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from ._deadline import Limit
from ._errors import UpstreamError

T = TypeVar("T")

# RFC 9110 section 9.2.2: what is safe or idempotent may be sent again.
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})

# Seconds, doubled with every retry. Full jitter: a wait between nothing and that, so that callers
# which failed together do not come back together ("Exponential Backoff And Jitter", AWS, 2015).
FIRST_BACKOFF = 0.05
LONGEST_BACKOFF = 1.0

# The most that a `Retry-After` is taken for, in seconds: a day. And the length of its longest form,
# with room; more than that is no date and no number of seconds that anybody waits.
LONGEST_WAIT = 24 * 60 * 60.0
_LONGEST_VALUE = 500


class RetryBudget:
    """What keeps retries from multiplying an outage: a share of the calls made, and no more.

    A token bucket, as in gRPC and Finagle: each call pays in `share` of a token, each further try
    takes out one, and no more than `burst` are kept. So `n` calls are at most
    `n * (1 + share) + burst` tries.
    """

    def __init__(self, share: float, burst: float = 10) -> None:
        self._share = share
        self._burst = burst if share else 0
        self._tokens = self._burst

    def note_call(self) -> None:
        """Count a call."""
        self._tokens = min(self._burst, self._tokens + self._share)

    def spend(self) -> bool:
        """Take the price of one more try, or tell that there is nothing left."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


async def with_retries(
    attempt: Callable[[], Awaitable[T]], *, most: int, budget: RetryBudget, limit: Limit
) -> T:
    """Return what `attempt` returns, repeated up to `most` times after a transient error.

    Raises the last error when no retry is left, or when it would have to wait beyond `limit`.
    """
    retries = 0
    while True:
        try:
            return await attempt()
        except UpstreamError as error:
            pause = _backoff(retries) if error.retry_after is None else error.retry_after
            retries += 1
            if not error.transient or retries > most or pause >= limit.left or not budget.spend():
                raise
        await asyncio.sleep(pause)


def _backoff(retries: int) -> float:
    return random.uniform(0, min(LONGEST_BACKOFF, FIRST_BACKOFF * 2**retries))  # noqa: S311 - no secret


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a `Retry-After` field asks for: RFC 9110 section 10.2.3.

    It holds seconds or a date. None if it holds neither; never more than `LONGEST_WAIT`.
    """
    if value is None or len(value) > _LONGEST_VALUE:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_WAIT)
    try:
        date = parsedate_to_datetime(value)
        if date.tzinfo is None:  # how Python reads "-0000"
            date = date.replace(tzinfo=UTC)
        seconds = (date - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(0.0, seconds), LONGEST_WAIT)
