"""Several calls at once under one deadline: what arrived, what failed, how the waits overlapped."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, TypeVar

from .clients.errors import UpstreamError
from .deadline import DeadlineExceeded, within

K = TypeVar("K")
T = TypeVar("T")

# Calls that wait in turn never take less than the sum of their waits, so anything below the sum
# proves an overlap; a tenth saved is where it starts to be worth the name.
CONCURRENT_BELOW = 0.9


@dataclass(frozen=True, slots=True)
class Arrived(Generic[K, T]):
    """A call that returned `value`; it ran from `start` to `end`, in seconds of the fan-out."""

    key: K
    value: T
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Failed(Generic[K]):
    """A call that ended in `error`; it ran from `start` to `end`, in seconds of the fan-out.

    One that was still waiting for its turn when time ran out has `start == end`.
    """

    key: K
    error: Exception
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class FanOut(Generic[K, T]):
    """The outcome of every call, in the order of the keys; `elapsed` is in seconds."""

    calls: tuple[Arrived[K, T] | Failed[K], ...]
    elapsed: float

    @property
    def arrived(self) -> dict[K, T]:
        """Values by key."""
        return {call.key: call.value for call in self.calls if isinstance(call, Arrived)}

    @property
    def failed(self) -> dict[K, Exception]:
        """Errors by key."""
        return {call.key: call.error for call in self.calls if isinstance(call, Failed)}

    @property
    def sum_of_waits(self) -> float:
        """The seconds that the calls would have taken one after another."""
        return sum(call.end - call.start for call in self.calls)

    @property
    def concurrent(self) -> bool:
        """Whether the calls took clearly less time together than in turn; one call never does."""
        return self.elapsed < CONCURRENT_BELOW * self.sum_of_waits


async def fan_out(
    call: Callable[[K], Awaitable[T]],
    keys: Iterable[K],
    *,
    deadline: float,
    max_concurrency: int,
    expected: tuple[type[Exception], ...] = (UpstreamError,),
) -> FanOut[K, T]:
    """Await `call(key)` for every key at once and return what became of each.

    All calls together get `deadline` seconds, or what their request has left, and at most
    `max_concurrency` of them run at a time; waiting for a turn is not part of a call's wait. An
    `expected` exception or a lack of time (`DeadlineExceeded`) is the outcome of that call, and
    the others still arrive.

    Raises any other exception, as it is a bug. Whether it raises, is cancelled or returns: every
    call has ended by then.
    """
    if max_concurrency < 1:
        message = f"max_concurrency is {max_concurrency}, but no call could run below 1"
        raise ValueError(message)
    began = perf_counter()
    turns = asyncio.Semaphore(max_concurrency)

    async def outcome(key: K) -> Arrived[K, T] | Failed[K]:
        start = None
        budget = asyncio.timeout_at(stop_at)
        try:
            async with budget, turns:
                start = perf_counter() - began
                try:
                    value = await call(key)
                except expected as error:
                    return Failed(key, error, start, perf_counter() - began)
                return Arrived(key, value, start, perf_counter() - began)
        except TimeoutError as error:
            # Any other is the call's own: not expected, so a bug.
            if not (budget.expired() or isinstance(error, DeadlineExceeded)):
                raise
            end = perf_counter() - began
            late = DeadlineExceeded(f"no answer within {deadline:g} s")
            return Failed(key, late, end if start is None else start, end)

    with within(deadline) as limit:
        stop_at = asyncio.get_running_loop().time() + limit.left
        tasks = [asyncio.create_task(outcome(key)) for key in keys]
    try:
        calls = await asyncio.gather(*tasks)
    except BaseException:
        # gather leaves the siblings of a failed call running. A task that is being cancelled
        # already is left alone: a second time would break into its clean-up.
        for task in tasks:
            if not task.cancelling():
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    return FanOut(tuple(calls), perf_counter() - began)
