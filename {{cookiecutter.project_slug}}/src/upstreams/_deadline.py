"""The time that a request has left, as every call made for it can see it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from math import inf
from time import monotonic

# HTTP has no standard header for the time that a caller still waits. This is Envoy's, which its
# proxies also set by themselves: "HTTP header manipulation" in its documentation.
BUDGET_HEADER = "X-Envoy-Expected-Rq-Timeout-Ms"

# Event loops may wake a little early: uvloop's timers have a resolution of a millisecond.
_EARLY = 0.001

_ends_at: ContextVar[float] = ContextVar("deadline", default=inf)
_place: ContextVar[int | None] = ContextVar("place", default=None)
_places = count()


class DeadlineExceeded(TimeoutError):
    """The request ran out of time before this call was answered.

    `upstream` is whose answer was missing, and `attempts` how often it was asked, where known.
    """

    upstream: str | None = None
    attempts = 0


class Limit:
    """How long a call may take: its own timeout, or what its request has left if that is less."""

    __slots__ = ("ends_at", "timeout_at")

    def __init__(self, seconds: float) -> None:
        """Begin now with a timeout of `seconds`."""
        self.timeout_at = monotonic() + seconds
        self.ends_at = min(self.timeout_at, _ends_at.get())

    def whole(self) -> "Limit":
        """Return the limit of the timeout alone, whatever the request has left."""
        limit = object.__new__(Limit)  # `copy` takes five times as long
        limit.ends_at = limit.timeout_at = self.timeout_at
        return limit

    @property
    def is_deadline(self) -> bool:
        """Whether it is the request that ends then, before the call has had its whole timeout."""
        return self.ends_at < self.timeout_at

    @property
    def left(self) -> float:
        """The seconds until then, negative after it."""
        return self.ends_at - monotonic()

    @property
    def passed(self) -> bool:
        """Whether a timer that was set for this moment may have fired."""
        return self.left <= _EARLY

    @property
    def timed_out(self) -> bool:
        """Whether the call has had its whole timeout: only then it is the upstream's fault."""
        return self.passed and not self.is_deadline


@contextmanager
def within(seconds: float) -> Iterator[Limit]:
    """Give what is called inside the block `seconds`, or what is left of a deadline around it.

    It interrupts nothing by itself: it says to calls and retries how long they may take.
    """
    limit = Limit(seconds)
    ends_at = _ends_at.set(limit.ends_at)
    kept = _place.set(place())
    try:
        yield limit
    finally:
        _place.reset(kept)
        _ends_at.reset(ends_at)


def place() -> int:
    """Return the place of the current request in the order in which they began.

    A new one where there is no request: each call is one of its own then.
    """
    known = _place.get()
    return next(_places) if known is None else known


def begin_request(seconds: float = inf) -> None:
    """Begin a request that has `seconds` left, in the current context.

    Whatever the context held of an earlier request, its deadline and its place, is gone.
    """
    _place.set(next(_places))
    _ends_at.set(monotonic() + seconds)


def lift_deadline() -> None:
    """Take the deadline away from the current context: for work that outlives its request."""
    _ends_at.set(inf)
    _place.set(None)
