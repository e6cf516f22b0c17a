"""Several calls at once under one deadline: values, errors, and how far the waits overlapped."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Generic, ParamSpec, TypeVar

from ._deadline import Deadline, DeadlineExceeded, within
from ._errors import UpstreamError
from ._failures import log_failure
from ._tasks import contained

K = TypeVar("K")
T = TypeVar("T")
P = ParamSpec("P")

# Seconds. Calls that see the deadline end by it, and name the upstream that did not answer. Other
# calls are cancelled this much later.
_GRACE = 0.005

# Calls one after another never take less than the sum of their waits, so a time below the sum
# proves an overlap. An overlap counts if it saves at least a tenth.
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

    `start == end` if the call was still waiting for its turn when time ran out.
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
        """Whether the calls took clearly less time than one after another; one call never does."""
        return self.elapsed < CONCURRENT_BELOW * self.sum_of_waits


async def fan_out(
    call: Callable[[K], Awaitable[T]],
    keys: Iterable[K],
    *,
    deadline: float,
    max_concurrency: int,
    expected: tuple[type[Exception], ...] = (UpstreamError,),
) -> FanOut[K, T]:
    """Await `call(key)` for every key at once, and return the outcome of each call.

    All calls together get `deadline` seconds, or what their request has left, and at most
    `max_concurrency` of them run at a time; waiting for a turn is not part of a call's wait. An
    `expected` exception or a lack of time (`DeadlineExceeded`) is the outcome of that call, and
    the others still arrive. It is logged, and has no traceback. Every call has ended when this
    returns, raises or is cancelled.

    Raises any other exception of a call, as a bug, and `ValueError` for a `max_concurrency` of 0.
    """
    if max_concurrency < 1:
        message = f"max_concurrency must be at least 1, not {max_concurrency}"
        raise ValueError(message)
    every = [*keys]
    with within(deadline) as until:
        run = _Run(call, every, expected, f"no answer within {deadline:g} s", until)
        if every:
            await _finish(run, min(max_concurrency, len(every)))
    return FanOut(tuple(run.outcomes()), perf_counter() - run.began)


class _Run(Generic[K, T]):
    """A running fan-out: its workers take one key after another."""

    def __init__(
        self,
        call: Callable[[K], Awaitable[T]],
        keys: list[K],
        expected: tuple[type[Exception], ...],
        too_late: str,
        deadline: Deadline,
    ) -> None:
        self.began = perf_counter()
        self.deadline = deadline
        self.is_late = False  # the workers are cancelled because time has run out
        self._call = call
        self._keys = keys
        self._next = iter(range(len(keys)))
        self._expected = expected
        self._too_late = too_late
        self._outcomes: dict[int, Arrived[K, T] | Failed[K]] = {}

    async def work(self) -> None:
        for number in self._next:
            if self.deadline.passed:
                return
            self._outcomes[number] = await self._outcome(self._keys[number])

    async def _outcome(self, key: K) -> Arrived[K, T] | Failed[K]:
        start = perf_counter() - self.began
        try:
            value = await self._call(key)
        except self._expected as error:
            failed: Exception = error
        except TimeoutError as error:
            # Any other timeout is the call's own. It was not expected, so it is a bug.
            if not (isinstance(error, DeadlineExceeded) or self.deadline.passed):
                raise
            failed = self._late(error)
        except asyncio.CancelledError:
            if not self.is_late:
                raise
            failed = self._late()
        else:
            return Arrived(key, value, start, perf_counter() - self.began)
        end = perf_counter() - self.began
        log_failure(failed, seconds=end - start)
        # The traceback would keep the frames of the call and this frame alive.
        return Failed(key, failed.with_traceback(None), start, end)

    def _late(self, error: TimeoutError | None = None) -> DeadlineExceeded:
        late = DeadlineExceeded(self._too_late)
        if isinstance(error, DeadlineExceeded):
            late.upstream, late.attempts = error.upstream, error.attempts
            late.logged = error.logged
        return late

    def outcomes(self) -> Iterator[Arrived[K, T] | Failed[K]]:
        now = perf_counter() - self.began
        for number, key in enumerate(self._keys):
            outcome = self._outcomes.get(number)
            yield self._unmade(key, now) if outcome is None else outcome

    def _unmade(self, key: K, now: float) -> Failed[K]:
        """Return the outcome of a call whose turn never came."""
        late = self._late()
        log_failure(late, seconds=0)
        return Failed(key, late, now, now)


async def _finish(run: _Run[Any, Any], workers: int) -> None:
    """Run that many workers until no key is left or time has run out."""
    tasks = [asyncio.create_task(contained(run.work())) for _ in range(workers)]
    try:
        await asyncio.wait(
            tasks, timeout=run.deadline.left + _GRACE, return_when=asyncio.FIRST_EXCEPTION
        )
        run.is_late = run.deadline.passed
        await _end(tasks)
        _raise_bug(tasks)
    except asyncio.CancelledError:
        await _end(tasks)
        raise
    finally:
        tasks.clear()  # an error would form a cycle: a task, its error, this frame


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel the tasks that still run, once; wait for their clean-up even if this is cancelled."""
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
    """A named call of a `Calls`; after `run` it has an outcome."""

    def __init__(self, name: str, start: Callable[[], Awaitable[T]]) -> None:
        self.name = name
        self._start = start
        self._outcome: Arrived[str, T] | Failed[str] | None = None

    @property
    def outcome(self) -> Arrived[str, T] | Failed[str]:
        """Its value or error, with its start and end.

        Raises `RuntimeError` before `Calls.run`.
        """
        if self._outcome is None:
            message = f"the call {self.name} has not run yet"
            raise RuntimeError(message)
        return self._outcome

    @property
    def value(self) -> T:
        """The value that the call returned.

        Raises the `UpstreamError` or `DeadlineExceeded` with which the call failed.
        """
        match self.outcome:
            case Failed(error=error):
                raise error
            case Arrived(value=value):
                return value

    @property
    def error(self) -> Exception | None:
        """The error with which the call failed, None if it succeeded."""
        return self.outcome.error if isinstance(self.outcome, Failed) else None

    async def _run(self) -> T:
        return await self._start()

    def _note(self, outcome: Arrived[str, T] | Failed[str]) -> None:
        self._outcome = outcome


class Calls:
    """Different calls at once under one deadline, each with a name.

    `fan_out` is for one function over many keys; this is for several functions:

        calls = Calls(deadline=2)
        order = calls.add("order", orders.order, "4711")
        stock = calls.add("stock", warehouse.stock, "apples", region="eu")
        result = await calls.run()

    Then `order.value` is the order, or raises the error of that call; `stock.error` is None if the
    stock arrived; `result.failed` has every error by name.
    """

    def __init__(
        self,
        *,
        deadline: float,
        max_concurrency: int = 10,
        expected: tuple[type[Exception], ...] = (UpstreamError,),
    ) -> None:
        """Take the options of `fan_out`."""
        self._deadline = deadline
        self._max_concurrency = max_concurrency
        self._expected = expected
        self._calls: dict[str, Call[Any]] = {}

    def add(
        self, name: str, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> Call[T]:
        """Add the call `call(*args, **kwargs)`, for `run` to make.

        Raises `ValueError` for a name that another call has.
        """
        if name in self._calls:
            message = f"there is a call {name} already"
            raise ValueError(message)
        self._calls[name] = added = Call(name, partial(call, *args, **kwargs))
        return added

    async def run(self) -> FanOut[str, Any]:
        """Await all calls as `fan_out` does, and return the outcome of each by its name."""
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
