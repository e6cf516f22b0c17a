"""The time that a request has left, as every call made for it can see it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from time import monotonic

from flask import Flask, request

# HTTP has no standard header for the time that a caller still waits. This is Envoy's, which its
# proxies also set by themselves: "HTTP header manipulation" in its documentation.
BUDGET_HEADER = "X-Envoy-Expected-Rq-Timeout-Ms"

# Event loops may wake a little early: uvloop's timers have a resolution of a millisecond.
_EARLY = 0.001

_ends_at: ContextVar[float] = ContextVar("deadline", default=inf)


class DeadlineExceeded(TimeoutError):
    """The request ran out of time before this call was answered."""


class Limit:
    """A moment, in seconds of `time.monotonic`, that can be put off for who waits longer."""

    __slots__ = ("ends_at",)

    def __init__(self, seconds: float) -> None:
        """Set it `seconds` from now, or at the end of the request's own time if that is sooner."""
        self.ends_at = min(monotonic() + seconds, _ends_at.get())

    @property
    def left(self) -> float:
        """The seconds until then, negative after it."""
        return self.ends_at - monotonic()

    @property
    def passed(self) -> bool:
        """Whether a timer that was set for this moment may have fired."""
        return self.left <= _EARLY

    @property
    def is_deadline(self) -> bool:
        """Whether it is the request that ends then, and not one call alone."""
        return self.ends_at >= _ends_at.get()


@contextmanager
def within(seconds: float) -> Iterator[Limit]:
    """Give what is called inside the block `seconds`, or what is left of a deadline around it.

    It interrupts nothing by itself: it says to calls and retries how long they may take.
    """
    limit = Limit(seconds)
    token = _ends_at.set(limit.ends_at)
    try:
        yield limit
    finally:
        _ends_at.reset(token)


def lift() -> None:
    """Take the deadline away from the current context: for work that outlives its request."""
    _ends_at.set(inf)


def init_app(app: Flask) -> None:
    """Give every request no more time than its caller waits for it, if the caller says so."""
    app.before_request(_start)


def _start() -> None:
    # Set in any case: under WSGI a thread's next request runs in the same context.
    given = request.headers.get(BUDGET_HEADER, "")
    known = given.isascii() and given.isdigit()
    _ends_at.set(monotonic() + int(given[:9]) / 1000 if known else inf)
