"""The time that a request has left, as every call made for it can see it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import count
from math import inf
from time import monotonic

from flask import Flask, request

# HTTP has no standard header for the time that a caller still waits. This is Envoy's, which its
# proxies also set by themselves: "HTTP header manipulation" in its documentation.
BUDGET_HEADER = "X-Envoy-Expected-Rq-Timeout-Ms"

# In seconds. A request that gets less could not be answered, and would only cost its calls.
SHORTEST_BUDGET = 0.1

# Of the header's value. More digits than a year has milliseconds are no time that anybody waits.
_MOST_DIGITS = 11

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


def lift() -> None:
    """Take the deadline away from the current context: for work that outlives its request."""
    _ends_at.set(inf)
    _place.set(None)


class Callers:
    """Addresses and networks, separated by commas; `*` is every address, and nothing is none.

    Raises `ValueError` for what is neither.
    """

    def __init__(self, listed: str) -> None:
        names = [name.strip() for name in listed.split(",") if name.strip()]
        self._all = "*" in names
        self._networks: list[IPv4Network | IPv6Network] = [
            ip_network(name, strict=False) for name in names if name != "*"
        ]

    def __contains__(self, address: str | None) -> bool:
        """Tell whether the caller with that address is one of them."""
        if self._all:
            return True
        try:
            caller = ip_address(address or "")
        except ValueError:  # a Unix socket has none
            return False
        if isinstance(caller, IPv6Address) and caller.ipv4_mapped:  # how "::" sees IPv4
            caller = caller.ipv4_mapped
        return any(caller in network for network in self._networks)


def init_app(app: Flask) -> None:
    """Give every request no more time than its caller waits for it, if it may say so."""
    believed = Callers(app.extensions["settings"].deadline_allow_ips)

    def start() -> None:
        # Set in any case: under WSGI a thread's next request runs in the same context.
        _place.set(next(_places))
        given = request.headers.get(BUDGET_HEADER)
        is_believed = given is not None and request.remote_addr in believed
        _ends_at.set(monotonic() + _budget(given) if given is not None and is_believed else inf)

    app.before_request(start)


def _budget(given: str) -> float:
    """Return the seconds that the header's value stands for, infinity for nonsense."""
    if not (given.isascii() and given.isdigit() and len(given) <= _MOST_DIGITS):
        return inf
    return max(SHORTEST_BUDGET, int(given) / 1000)
