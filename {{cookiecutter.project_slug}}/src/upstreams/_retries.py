"""Retries: whether a failed call is tried again, and when."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, TypeVar

from ._deadline import Deadline
from ._errors import UpstreamError

T = TypeVar("T")

# Methods that are safe or idempotent, so may be sent again: RFC 9110 section 9.2.2.
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})

# Seconds, doubled with every retry. With full jitter the pause is a random time from 0 to that, so
# calls that failed together do not return together ("Exponential Backoff And Jitter", AWS, 2015).
FIRST_BACKOFF = 0.05
LONGEST_BACKOFF = 1.0

# The longest pause that a `Retry-After` can ask for, in seconds: a day. The second number limits
# the characters of the header: a longer value is neither a date nor a realistic number of seconds.
LONGEST_WAIT = 24 * 60 * 60.0
_LONGEST_VALUE = 500

Refusal = Literal["budget", "deadline"]  # of a retry


class RetryBudget:
    """Limits retries to a share of the calls, so that they do not multiply an outage.

    A token bucket, as in gRPC and Finagle: each call adds `share` of a token, each further try
    takes a whole token, and at most `burst` tokens are kept. So `n` calls make at most `n * (1 +
    share) + burst` tries.
    """

    def __init__(self, share: float, burst: float = 10) -> None:
        self._share = share
        self._burst = burst if share else 0
        self._tokens = self._burst

    def note_call(self) -> None:
        """Count a call."""
        self._tokens = min(self._burst, self._tokens + self._share)

    def spend(self) -> bool:
        """Take a token for one more try; return False when there is none."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


async def with_retries(
    attempt: Callable[[], Awaitable[T]],
    *,
    most: int,
    budget: RetryBudget,
    deadline: Deadline,
    on_decision: Callable[[Refusal | None], object] = lambda _: None,
) -> T:
    """Return what `attempt` returns, repeated up to `most` times after a transient error.

    Raises the last error when no retry is left, or when the pause would end after `deadline`.
    `on_decision` is called after a transient error, while retries are left: with the reason that
    refuses a retry, or None.
    """
    retries = 0
    while True:
        try:
            return await attempt()
        except UpstreamError as error:
            if not error.transient or retries >= most:
                raise
            pause = _backoff(retries) if error.retry_after is None else error.retry_after
            retries += 1
            if pause >= deadline.left:
                on_decision("deadline")
                raise
            if not budget.spend():
                on_decision("budget")
                raise
            on_decision(None)
        await asyncio.sleep(pause)


def _backoff(retries: int) -> float:
    return random.uniform(0, min(LONGEST_BACKOFF, FIRST_BACKOFF * 2**retries))  # noqa: S311 - no secret


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a `Retry-After` asks for, at most `LONGEST_WAIT`.

    It is a number of seconds or a date (RFC 9110 section 10.2.3); for other values None.
    """
    if value is None or len(value) > _LONGEST_VALUE:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_WAIT)
    try:
        date = parsedate_to_datetime(value)
        if date.tzinfo is None:  # Python parses "-0000" like this
            date = date.replace(tzinfo=UTC)
        seconds = (date - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(0.0, seconds), LONGEST_WAIT)
