"""Several calls at once under one deadline: what arrived, what failed, how the waits overlapped."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Generic, ParamSpec, TypeVar

from ._deadline import DeadlineExceeded, Limit, within
from ._errors import UpstreamError
from ._failures import warn
from ._tasks import contained

K = TypeVar("K")
T = TypeVar("T")
P = ParamSpec("P")

# Calls that mind the deadline themselves end by themselves, and say whose answer was missing. The
# others are cancelled this much later, in seconds.
_GRACE = 0.005

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
    the others still arrive. It is logged, and has no traceback.

    Raises any other exception, as it is a bug. Whether it raises, is cancelled or returns: every
    call has ended by then.
    """
    if max_concurrency < 1:
        message = f"max_concurrency is {max_concurrency}, but no call could run below 1"
        raise ValueError(message)
    every = [*keys]
    with within(deadline) as limit:
        run = _Run(call, every, expected, f"no answer within {deadline:g} s", limit)
        if every:
            await _finish(run, min(max_concurrency, len(every)))
    return FanOut(tuple(run.outcomes()), perf_counter() - run.began)


class _Run(Generic[K, T]):
    """One fan-out under way: its workers take one key after another."""

    def __init__(
        self,
        call: Callable[[K], Awaitable[T]],
        keys: list[K],
        expected: tuple[type[Exception], ...],
        too_late: str,
        limit: Limit,
    ) -> None:
        self.began = perf_counter()
        self.limit = limit
        self.is_late = False  # whether the workers are cancelled because time has run out
        self._call = call
        self._keys = keys
        self._next = iter(range(len(keys)))
        self._expected = expected
        self._too_late = too_late
        self._outcomes: dict[int, Arrived[K, T] | Failed[K]] = {}

    async def work(self) -> None:
        for number in self._next:
            if self.limit.passed:
                return
            self._outcomes[number] = await self._outcome(self._keys[number])

    async def _outcome(self, key: K) -> Arrived[K, T] | Failed[K]:
        start = perf_counter() - self.began
        try:
            value = await self._call(key)
        except self._expected as error:
            failed: Exception = error
        except TimeoutError as error:
            # Any other is the call's own: not expected, so a bug.
            if not (isinstance(error, DeadlineExceeded) or self.limit.passed):
                raise
            failed = self._late(error)
        except asyncio.CancelledError:
            if not self.is_late:
                raise
            failed = self._late()
        else:
            return Arrived(key, value, start, perf_counter() - self.began)
        end = perf_counter() - self.began
        warn(failed, seconds=end - start)
        # Its traceback holds the frames of the call, and this one.
        return Failed(key, failed.with_traceback(None), start, end)

    def _late(self, error: TimeoutError | None = None) -> DeadlineExceeded:
        late = DeadlineExceeded(self._too_late)
        if isinstance(error, DeadlineExceeded):
            late.upstream, late.attempts = error.upstream, error.attempts
        return late

    def outcomes(self) -> Iterator[Arrived[K, T] | Failed[K]]:
        now = perf_counter() - self.began
        for number, key in enumerate(self._keys):
            outcome = self._outcomes.get(number)  # none for one whose turn never came
            yield Failed(key, self._late(), now, now) if outcome is None else outcome


async def _finish(run: _Run[Any, Any], workers: int) -> None:
    """Let so many workers take the keys until none is left, or the time is over."""
    tasks = [asyncio.create_task(contained(run.work())) for _ in range(workers)]
    try:
        await asyncio.wait(
            tasks, timeout=run.limit.left + _GRACE, return_when=asyncio.FIRST_EXCEPTION
        )
        run.is_late = run.limit.passed
        await _end(tasks)
        _raise_bug(tasks)
    except asyncio.CancelledError:
        await _end(tasks)
        raise
    finally:
        tasks.clear()  # with an error it would be a cycle: a task, its error, this frame


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel what still runs, once, and wait for its clean-up, whoever cancels this meanwhile."""
    left = [task for task in tasks if not task.done()]
    for task in left:
        task.cancel()
    is_cancelled = False
    while not all(task.done() for task in left):
        try:
            await asyncio.wait(left)
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        raise asyncio.CancelledError


def _raise_bug(tasks: list[asyncio.Task[None]]) -> None:
    errors = [task.exception() for task in tasks if not task.cancelled()]
    try:
        for error in errors:
            if error is not None:
                raise error
    finally:
        errors.clear()
        error = None


class Call(Generic[T]):
    """A named call of a `Calls`, and after its `run` what became of it."""

    def __init__(self, name: str, start: Callable[[], Awaitable[T]]) -> None:
        self.name = name
        self._start = start
        self._outcome: Arrived[str, T] | Failed[str] | None = None

    @property
    def outcome(self) -> Arrived[str, T] | Failed[str]:
        """What became of it, and when.

        Raises:
            RuntimeError: it was not run yet.
        """
        if self._outcome is None:
            message = f"the call {self.name} was not run yet"
            raise RuntimeError(message)
        return self._outcome

    @property
    def value(self) -> T:
        """What it returned.

        Raises:
            UpstreamError, DeadlineExceeded: what it failed with.
        """
        match self.outcome:
            case Failed(error=error):
                raise error
            case Arrived(value=value):
                return value

    @property
    def error(self) -> Exception | None:
        """What it failed with, None if it did not."""
        return self.outcome.error if isinstance(self.outcome, Failed) else None

    async def _run(self) -> T:
        return await self._start()

    def _note(self, outcome: Arrived[str, T] | Failed[str]) -> None:
        self._outcome = outcome


class Calls:
    """Calls of different kinds, each by a name, at once and under one deadline.

    `fan_out` is for one function over many keys; this is for several functions:

        calls = Calls(deadline=2)
        order = calls.add("order", orders.order, "4711")
        stock = calls.add("stock", warehouse.stock, "apples", region="eu")
        result = await calls.run()

    Then `order.value` is the order, or raises what went wrong; `stock.error` is None if the stock
    arrived; `result.failed` has every error by name.
    """

    def __init__(
        self,
        *,
        deadline: float,
        max_concurrency: int = 10,
        expected: tuple[type[Exception], ...] = (UpstreamError,),
    ) -> None:
        """Take what `fan_out` takes."""
        self._deadline = deadline
        self._max_concurrency = max_concurrency
        self._expected = expected
        self._calls: dict[str, Call[Any]] = {}

    def add(
        self, name: str, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> Call[T]:
        """Have `call` called with the arguments, once they are run.

        Raises:
            ValueError: there is a call of that name.
        """
        if name in self._calls:
            message = f"there is a call {name} already"
            raise ValueError(message)
        self._calls[name] = added = Call(name, partial(call, *args, **kwargs))
        return added

    async def run(self) -> FanOut[str, Any]:
        """Await all calls as `fan_out` does, and return what became of each by its name."""
        result = await fan_out(
            lambda name: self._calls[name]._run(),  # noqa: SLF001 - the two belong together
            self._calls,
            deadline=self._deadline,
            max_concurrency=self._max_concurrency,
            expected=self._expected,
        )
        for outcome in result.calls:
            self._calls[outcome.key]._note(outcome)  # noqa: SLF001
        return result
