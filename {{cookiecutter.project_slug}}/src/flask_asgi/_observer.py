"""The events and the load that the engine reports, for the metrics of a program.

The library depends on no metrics package. A program derives from `ServerObserver`.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from inspect import isfunction
from typing import Any, Literal

from ._access import EndedRequest

logger = logging.getLogger(__name__)

ShedReason = Literal["max_in_flight", "queue", "threads"]
CancelReason = Literal["disconnect", "timeout", "stop"]
TaskOutcome = Literal["ok", "error", "cancelled"]

# OpenTelemetry's value of `http.request.method` for an unknown method. The known methods are those
# of RFC 9110 section 9.3 and RFC 5789.
OTHER = "_OTHER"
_HTTP = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
METHODS = (*_HTTP, OTHER)
_KNOWN_METHODS = frozenset(_HTTP)

# Seconds between two samples of the load and of the loop's lag.
TICK = 0.1

# The largest number of missed ticks that one late tick reports: those of a minute.
MOST_MISSED = int(60 / TICK)


def method_name(method: str) -> str:
    """Return the request's method if it is one of `METHODS`, otherwise `OTHER`."""
    return method if method in _KNOWN_METHODS else OTHER


@dataclass(frozen=True, slots=True)
class Load:
    """The load of one `FlaskToAsgi` at a moment."""

    in_flight: int
    """Requests that have begun and not ended."""
    most_in_flight: int
    """The largest number of requests that may be in flight and in line together."""
    queued: int
    """Requests that wait to begin."""
    threads_busy: int
    """Worker threads that run a call."""
    threads_away: int
    """Worker threads whose request waits: for the event loop, its client or its next call."""
    threads_idle: int
    most_threads: int
    """The largest number of worker threads that may be busy."""
    calls_waiting: int
    """Calls that wait for a worker thread."""


class ServerObserver:
    """Is told what the engine does. Every method does nothing; override those that you need.

    The methods run on the event loop, or in the thread of a request, so they must be quick. An
    error that they raise is logged, once for each method, and does not reach the request.
    """

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Wrap the methods of a subclass, so that their errors do not reach the requests."""
        super().__init_subclass__(**kwargs)
        for name in vars(ServerObserver).keys() & vars(cls).keys():
            method = vars(cls)[name]
            if isfunction(method) and not name.startswith("_"):
                setattr(cls, name, _harmless(method))

    def request_ended(self, request: EndedRequest) -> None:
        """Note the end of a request, however it was answered: see `watch_requests`."""

    def request_queued(self, seconds: float) -> None:
        """Note that a request waited in line for `seconds`, and then began or was refused."""

    def request_shed(self, reason: ShedReason) -> None:
        """Note that a request is answered 503 because there are too many.

        `max_in_flight`: the limit of requests in flight and in line was reached; `queue`: the line
        was too slow, or the server stopped; `threads`: too many calls waited for a thread.
        """

    def request_cancelled(self, reason: CancelReason) -> None:
        """Note that a request was cancelled after its view could have begun.

        `disconnect`: its client disconnected; `timeout`: it took too long; `stop`: a server stop.
        """

    def task_began(self) -> None:
        """Note that a background task begins."""

    def task_ended(self, outcome: TaskOutcome) -> None:
        """Note that a background task ended."""

    def loop_lagged(self, seconds: float) -> None:
        """Note how late a timer of the event loop ran. It is called every `TICK` seconds.

        If the loop was blocked for several ticks, it is called for each missed tick, with the delay
        of that tick. So a long block weighs as much in the metric as it does for requests.
        """

    def load_sampled(self, load: Load) -> None:
        """Note the load. It is called every `TICK` seconds, and once when the server stops."""


NOBODY = ServerObserver()

_broken: set[str] = set()


def _harmless(method: Callable[..., object]) -> Callable[..., None]:
    @wraps(method)
    def call(*args: Any) -> None:  # noqa: ANN401 - those of any method
        try:
            method(*args)
        except Exception as error:
            error.__suppress_context__ = True  # the request's error has its own line
            if method.__qualname__ not in _broken:
                _broken.add(method.__qualname__)
                message = "%s failed, and is not reported when it fails again"
                logger.exception(message, method.__qualname__)

    return call


@contextmanager
def sampled(observer: ServerObserver, load: Callable[[], Load]) -> Iterator[None]:
    """Tell `observer` of the lag of the running event loop, and of the load, within the block."""
    if observer is NOBODY:
        yield
        return
    loop = asyncio.get_running_loop()
    due = timer = None

    def tick() -> None:
        nonlocal due, timer
        now = time.monotonic()  # the loop's own clock stands still within a turn
        if due is not None:
            for lag in lags(now - due):
                observer.loop_lagged(lag)
        observer.load_sampled(load())
        due = now + TICK
        timer = loop.call_later(TICK, tick)

    tick()
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
        observer.load_sampled(load())


def lags(late: float) -> Iterator[float]:
    """Yield the delay of each tick that should have run by now; that of the first is `late`."""
    yield max(late, 0.0)
    missed = min(int(late / TICK), MOST_MISSED)
    yield from (late - number * TICK for number in range(1, missed + 1))
