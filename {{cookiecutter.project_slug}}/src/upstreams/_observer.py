"""The events that an upstream reports about its calls, for a program's metrics and traces.

The library depends on no package for either. A program derives from `Observer` for its metrics, and
writes a `Trace` for its traces.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import wraps
from inspect import isfunction
from types import TracebackType
from typing import ParamSpec, TypeAlias

import httpx

from ._breaker import State
from ._deadline import Deadline, DeadlineExceeded
from ._errors import (
    UpstreamBusy,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from ._retries import Refusal

logger = logging.getLogger(__name__)

P = ParamSpec("P")

# For values that are not in the lists below: a bug's exception, a method that a client invented.
# OpenTelemetry's conventions for `error.type` and `http.request.method` have the same value.
OTHER = "_OTHER"

_ERRORS: dict[type[BaseException], str] = {
    kind: kind.__name__
    for kind in (
        UpstreamTimeout,
        UpstreamBusy,
        UpstreamUnavailable,
        UpstreamRejected,
        UpstreamInvalid,
        DeadlineExceeded,
        asyncio.CancelledError,
    )
}
_CANCELLED = asyncio.CancelledError.__name__

# The only values of `error` and `method` that an `Observer` gets, so that labels of metrics stay
# few. The methods are those of RFC 9110 section 9.3 and RFC 5789.
ERRORS = (*_ERRORS.values(), OTHER)
_HTTP = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
METHODS = (*_HTTP, OTHER)
_KNOWN_METHODS = frozenset(_HTTP)

_broken: set[str] = set()  # the functions whose errors were logged


def harmless(function: Callable[P, object]) -> Callable[P, None]:
    """Return a function that logs what `function` raises, once, instead of raising it."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except Exception as error:
            error.__suppress_context__ = True  # the call's error has its own line
            name = getattr(function, "__qualname__", repr(function))
            if name not in _broken:
                _broken.add(name)
                logger.exception("%s failed, and is not reported when it fails again", name)

    return call


class Observer:
    """Is told what an upstream's calls do. Every method does nothing; override those you need.

    `upstream` is the name of the upstream, `method` one of `METHODS`, and `error` one of `ERRORS`,
    or None for success. All times are in seconds.

    The methods run in the middle of a call, on its event loop, so they must be quick. An error that
    they raise is logged, once for each method, and does not reach the call.
    """

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Wrap the methods of a subclass, so that their errors do not reach the calls."""
        super().__init_subclass__(**kwargs)
        for name in vars(Observer).keys() & vars(cls).keys():
            method = vars(cls)[name]
            if isfunction(method) and not name.startswith("_"):
                setattr(cls, name, harmless(method))

    def call_ended(self, upstream: str, method: str, error: str | None, seconds: float) -> None:
        """Note the end of a call, with its waits and retries.

        A call that shared another call's request, or was answered by the cache, counts as well. A
        stream's call ends when the header of its reply arrives.
        """

    def attempt_ended(self, upstream: str, method: str, error: str | None, seconds: float) -> None:
        """Note the end of one request to the upstream: the first of its call, a retry or a hedge.

        If the call runs out of time, its attempt ends in `UpstreamTimeout` or `DeadlineExceeded`,
        as the call does. The slower of two hedged attempts ends in `CancelledError`.
        """

    def body_failed(self, upstream: str, method: str, error: str) -> None:
        """Note that the body of a stream failed, after its call had succeeded."""

    def retried(self, upstream: str) -> None:
        """Note that a call is tried again after a transient error."""

    def retry_refused(self, upstream: str, by: Refusal) -> None:
        """Note that a call is not tried again although it had retries left.

        `budget`: retries are too large a share of the calls; `deadline`: too little time is left.
        """

    def hedged(self, upstream: str) -> None:
        """Note that a second attempt starts, because the first is slow."""

    def hedge_refused(self, upstream: str) -> None:
        """Note that the budget allowed no second attempt, although the first is slow."""

    def hedge_won(self, upstream: str) -> None:
        """Note that the second attempt answered first."""

    def coalesced(self, upstream: str) -> None:
        """Note that a call joins an identical call in flight, and makes no request."""

    def cache_hit(self, upstream: str) -> None:
        """Note that the cache answered a call, and no request was made."""

    def cache_missed(self, upstream: str) -> None:
        """Note that the cache had no reply, or a reply that the upstream had to confirm."""

    def breaker_changed(self, upstream: str, state: State) -> None:
        """Note the new state of the circuit breaker; it begins as `closed`."""

    def breaker_refused(self, upstream: str) -> None:
        """Note that the circuit breaker refused a call, or a further attempt."""

    def connection_taken(self, upstream: str) -> None:
        """Note that a call got one of the upstream's `max_connections`."""

    def connection_released(self, upstream: str, seconds: float) -> None:
        """Note that a call released its connection after `seconds`."""

    def wait_began(self, upstream: str) -> None:
        """Note that a call begins to wait, because every connection is taken."""

    def wait_ended(self, upstream: str, seconds: float) -> None:
        """Note that the wait for a connection ended after `seconds`, with or without success."""


NOBODY = Observer()


@dataclass(slots=True, eq=False)
class Attempt:
    """One request to an upstream, for a `Trace`."""

    upstream: str
    number: int  # of the attempt in its call, from 1
    request: httpx.Request = field(repr=False)  # its URL and headers may hold secrets
    headers: dict[str, str] = field(default_factory=dict)  # what a trace adds to the request
    status: int | None = None  # of the reply, once there is one
    error: str | None = None  # one of `ERRORS`, once it has failed

    @property
    def method(self) -> str:
        """The HTTP method: one of `METHODS`."""
        return method_name(self.request.method)

    @property
    def url(self) -> str:
        """The URL without user, password and query, which may hold secrets."""
        url = self.request.url
        path = url.raw_path.partition(b"?")[0].decode("ascii")
        return f"{url.scheme}://{url.netloc.decode('ascii')}{path}"


# Called for each attempt, and entered in the attempt's context: in the task of the call, or in a
# task started from there. So context variables, such as the current span, are the caller's.
# `headers` are read once the block has begun; `status` and `error` are set when it ends.
Trace: TypeAlias = Callable[[Attempt], AbstractContextManager[object]]


class _Block:
    """The block of a trace, whose errors must not reach the call."""

    def __init__(self, trace: Trace, attempt: Attempt, *, adds_headers: bool) -> None:
        self._trace = trace
        self._attempt = attempt
        self._adds_headers = adds_headers
        self._inner: AbstractContextManager[object] | None = None

    @harmless
    def __enter__(self) -> None:
        inner = self._trace(self._attempt)
        inner.__enter__()
        self._inner = inner
        if self._adds_headers:
            for name, value in self._attempt.headers.items():
                self._attempt.request.headers[name] = value

    @harmless
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._inner is not None:
            self._inner.__exit__(kind, error, traceback)


async def traced(
    trace: Trace,
    attempt: Attempt,
    sent: Awaitable[httpx.Response],
    error_of: Callable[[httpx.Response | BaseException], str | None],
    *,
    adds_headers: bool = True,
) -> httpx.Response:
    """Return the outcome of `sent`, awaited in the block of `trace`; `error_of` names its error.

    `sent` is a coroutine, which has not begun.
    """
    with _Block(trace, attempt, adds_headers=adds_headers):
        try:
            response = await sent
        except BaseException as error:
            attempt.status = getattr(error, "status", None)
            attempt.error = error_of(error)
            raise
        attempt.status = response.status_code
        attempt.error = error_of(response)
        return response


def error_name(error: BaseException, deadline: Deadline | None = None) -> str:
    """Return the name in `ERRORS` for a call's error; `deadline` may have cut the call off."""
    name = _ERRORS.get(type(error), OTHER)
    if name is _CANCELLED and deadline is not None and deadline.passed:
        kind = DeadlineExceeded if deadline.ends_with_request else UpstreamTimeout
        return kind.__name__
    if name is OTHER:  # a class derived from one of ours
        return next((_ERRORS[kind] for kind in type(error).__mro__ if kind in _ERRORS), OTHER)
    return name


def method_name(method: str) -> str:
    """Return the request's method if it is one of `METHODS`, otherwise `OTHER`."""
    return method if method in _KNOWN_METHODS else OTHER
