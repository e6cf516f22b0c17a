"""Deadlines: how long a call may take, and how much time its request has left.

The request's deadline is in context variables, so every call made for the request sees it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from math import inf
from time import monotonic

# HTTP has no standard header for the time that a caller still waits. This is Envoy's header, which
# Envoy proxies set themselves: "HTTP header manipulation" in its documentation. In milliseconds.
BUDGET_HEADER = "X-Envoy-Expected-Rq-Timeout-Ms"

# Seconds. Event loops may wake a little early: uvloop's timers have a resolution of a millisecond.
_EARLY = 0.001

_ends_at: ContextVar[float] = ContextVar("deadline", default=inf)
_request_number: ContextVar[int | None] = ContextVar("request_number", default=None)
_numbers = count()


class DeadlineExceeded(TimeoutError):
    """The request ran out of time before this call was answered.

    `upstream` is the name of the upstream that did not answer, and `attempts` the number of
    requests to it, if they are known; `logged` is whether `log_failure` has seen the error.
    """

    upstream: str | None = None
    attempts = 0
    logged = False


class Deadline:
    """The moment by which a call must be answered: a monotonic deadline.

    It is the end of the call's own timeout, or the end of its request if that comes first. All
    moments (`..._at`) are seconds on the clock `time.monotonic`.
    """

    __slots__ = ("ends_at", "fault_at", "timeout_at")

    def __init__(self, timeout: float, *, fault_after: float = 0) -> None:
        """Start the clock now.

        `timeout` is how long the call itself would wait, in seconds. An upstream that does not
        answer is at fault after that time, and not before `fault_after` seconds.
        """
        now = monotonic()
        self.timeout_at = now + timeout
        self.fault_at = self.timeout_at if fault_after <= timeout else now + fault_after
        self.ends_at = min(self.timeout_at, _ends_at.get())

    def without_request(self) -> "Deadline":
        """Return the deadline of the call's own timeout, whatever its request has left."""
        deadline = object.__new__(Deadline)  # `copy.copy` takes five times as long
        deadline.ends_at = deadline.timeout_at = self.timeout_at
        deadline.fault_at = self.fault_at
        return deadline

    @property
    def ends_with_request(self) -> bool:
        """Whether the request ends before the call has had its own timeout."""
        return self.ends_at < self.timeout_at

    @property
    def is_early(self) -> bool:
        """Whether the call ends before a missing answer is the upstream's fault."""
        return self.ends_at < self.fault_at

    @property
    def left(self) -> float:
        """The seconds until the deadline, negative after it."""
        return self.ends_at - monotonic()

    @property
    def passed(self) -> bool:
        """Whether a timer that was set for the deadline may have fired."""
        return self.left <= _EARLY

    @property
    def upstream_is_at_fault(self) -> bool:
        """Whether the upstream did not answer within the whole time that it may take."""
        return self.passed and not self.is_early


@contextmanager
def within(seconds: float) -> Iterator[Deadline]:
    """Give every call inside the block `seconds`, or the rest of an outer deadline if it is less.

    The block itself is not interrupted. Calls and retries end by the deadline.
    """
    deadline = Deadline(seconds)
    outer_end = _ends_at.set(deadline.ends_at)
    outer_number = _request_number.set(request_number())
    try:
        yield deadline
    finally:
        _request_number.reset(outer_number)
        _ends_at.reset(outer_end)


def request_number() -> int:
    """Return the number of the current request: an earlier request has a lower number.

    Outside a request every call gets a new number.
    """
    number = _request_number.get()
    return next(_numbers) if number is None else number


def begin_request(seconds: float = inf) -> None:
    """Begin a request in the current context; it has `seconds` left, by default no deadline.

    The deadline and the number of an earlier request in this context are replaced.
    """
    _request_number.set(next(_numbers))
    _ends_at.set(monotonic() + seconds)


def lift_deadline() -> None:
    """Remove the request's deadline from the current context, for work that outlives it."""
    _ends_at.set(inf)
    _request_number.set(None)
