"""A bounded pool of worker threads, in which sync views run."""

import asyncio
import contextlib
import contextvars
import functools
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar, cast

from ._greenlets import Home, NoObserver, current_call
from ._outcome import Outcome
from ._visits import Visits
from ._waiting import block_on, work_with

T = TypeVar("T")

# The largest number of threads that wait for the loop, as a multiple of the threads that work.
# Further requests wait for a thread before they begin.
MOST_AWAY = 10


class _ThreadOutcome(Outcome, asyncio.Future[None]):
    """The outcome of a call in a thread: a future that is done when the call has ended."""

    visits: Visits | None = None

    def settle(self, returned: object, raised: BaseException | None) -> None:
        if not self.done():
            self.returned, self.raised = returned, raised
            self.set_result(None)

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ANN401, ARG002 - asyncio's signature
        # The call cannot be interrupted, unless it waits for the loop. A task whose future refuses
        # to be cancelled is cancelled as soon as that future is done.
        if self.visits is not None:
            self.visits.cancel()
        return False

    def abandon(self) -> None:
        super().cancel()


class ThreadPool:
    """Runs calls in at most ``size`` threads, which are started when they are needed.

    It is full when ``max_waiting`` further calls wait for a thread. `run` does not check: ask
    `is_full` first.

    A call that waits for its client (`park`) gives its place to another call. So does a call that
    waits for a coroutine (`away`), and a request that keeps its thread between two calls. Up to
    ``size`` calls can be parked, and `MOST_AWAY` times as many can be away. So there are at most
    twelve times ``size`` threads.

    The threads are daemons: a call that never ends must not keep a server from stopping.
    """

    def __init__(self, size: int, max_waiting: int) -> None:
        self.size = size
        self.max_waiting = max_waiting
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._outcomes: set[_ThreadOutcome] = set()
        self._parked: dict[asyncio.Task[Any], Callable[[], float]] = {}
        self._threads = 0
        self._away = 0  # calls that wait for the loop
        self._kept = 0  # threads that wait for the next call of their request

    def is_full(self) -> bool:
        """Tell whether ``max_waiting`` calls already wait for a thread."""
        return self._working_calls() >= self.size + self.max_waiting

    async def run(
        self, call: Callable[[], T], context: contextvars.Context, visits: Visits | None = None
    ) -> T:
        """Return the result of ``call``, run in a thread and in ``context``.

        A cancellation takes effect where the call waits for the loop (``visits``), or at the call's
        end: a thread cannot be interrupted.

        Raises:
            BaseException: the error that ``call`` raised.
        """
        loop = asyncio.get_running_loop()
        outcome = _ThreadOutcome(loop=loop)
        outcome.visits = visits or Visits(loop, NoObserver(), self)
        outcome.visits.begin_call()
        self._outcomes.add(outcome)
        if outcome.visits.kept is None:
            self._start_thread_if_needed()
            self._calls.put(functools.partial(_work, outcome, outcome.visits, call, context))
        else:
            self._kept -= 1
            outcome.visits.kept.put(functools.partial(_settle, outcome, call, context, visits))
        try:
            return cast("T", await _taken(outcome))
        finally:
            self._outcomes.discard(outcome)
            if outcome.visits.kept is not None:
                self._kept += 1
            self._end_thread_if_spare()

    def release(self, visits: Visits) -> None:
        """Take back the thread that a request keeps, if any. The request makes no more calls."""
        if visits.kept is not None:
            visits.kept.put(None)
            visits.kept = None
            self._kept -= 1
            self._end_thread_if_spare()

    async def park(self, wait: Coroutine[Any, Any, None], worth: Callable[[], float]) -> None:
        """Await ``wait`` for a call in a thread, and let another call have its place meanwhile.

        When as many calls are parked as there are threads, the call with the lowest ``worth()`` is
        given up.

        Raises:
            TimeoutError: this call was given up.
            BaseException: the error that ``wait`` raised.
        """
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._parked[task] = worth
        try:
            if len(self._parked) > self.size:
                least = min(self._parked, key=lambda parked: self._parked[parked]())
                del self._parked[least]
                if least is task:
                    wait.close()
                    raise TimeoutError
                least.cancel()
            self._start_thread_if_needed()
            await wait
        except asyncio.CancelledError:
            if task in self._parked:
                raise
            raise TimeoutError from None
        finally:
            self._parked.pop(task, None)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Let another call have the place of this one, which waits for the loop in the block."""
        if not self.can_be_away():
            yield
            return
        self._away += 1
        self._start_thread_if_needed()
        try:
            yield
        finally:
            self._away -= 1

    def can_be_away(self) -> bool:
        """Tell whether one more call may enter `away`."""
        return self._away + self._kept < self.size * MOST_AWAY

    @property
    def threads_away(self) -> int:
        """The threads whose request waits: for the loop, its client or its next call."""
        return len(self._parked) + self._away + self._kept

    @property
    def threads_busy(self) -> int:
        """The threads that run a call."""
        return max(0, min(self._working_calls(), self._working_threads()))

    @property
    def threads_idle(self) -> int:
        """The threads that wait for a call."""
        return max(0, self._working_threads() - self.threads_busy)

    @property
    def calls_waiting(self) -> int:
        """The calls that wait for a thread."""
        return max(0, self._working_calls() - self.threads_busy)

    def _working_calls(self) -> int:
        return len(self._outcomes) - len(self._parked) - self._away

    def _working_threads(self) -> int:
        return self._threads - self.threads_away

    def _start_thread_if_needed(self) -> None:
        if self._working_threads() < min(self._working_calls(), self.size):
            self._threads += 1
            threading.Thread(target=_serve, args=(self._calls,), name="view", daemon=True).start()

    def _end_thread_if_spare(self) -> None:
        if self._working_threads() > self.size:
            self._threads -= 1
            self._calls.put(None)

    def close(self) -> None:
        """End the idle threads, without waiting for the calls that still run in others."""
        for outcome in list(self._outcomes):
            outcome.abandon()
        for _ in range(self._threads):
            self._calls.put(None)
        self._threads = 0


def _serve(calls: Home) -> None:
    while (work := calls.get()) is not None:
        work()
        del work  # an idle thread must not keep the last request alive


def _work(
    outcome: _ThreadOutcome,
    visits: Visits,
    call: Callable[[], object],
    context: contextvars.Context,
) -> None:
    work_with(visits)
    try:
        _settle(outcome, call, context, visits)
        while (kept := visits.kept) is not None and (next_call := kept.get()) is not None:
            next_call()
            del next_call
    finally:
        work_with(None)


def _settle(
    outcome: _ThreadOutcome,
    call: Callable[[], object],
    context: contextvars.Context,
    visits: Visits | None = None,
) -> None:
    """Run ``call`` in the current thread, and settle its ``outcome``."""
    result, error = None, None
    try:
        result = context.run(call)
    except BaseException as raised:  # noqa: BLE001 - raised where the outcome is taken
        error = raised
    if visits is not None:
        visits.note_end(context)
    with contextlib.suppress(RuntimeError):  # the loop is closed, and no task waits
        outcome.get_loop().call_soon_threadsafe(outcome.settle, result, error)
    del error  # its traceback keeps this frame


def block_on_thread(threads: ThreadPool, call: Callable[[], T]) -> T:
    """Return the result of ``call``, run in a thread while this code, on the loop, is paused.

    If a thread waits for this code, the call runs in that thread, so all synchronous parts of a
    request see the same thread. Otherwise it runs in one of ``threads``.

    Raises:
        BaseException: the error that ``call`` raised.
    """
    current = current_call()
    if current is None:  # the body was made on the loop, but is sent from a thread
        return call()
    # While its greenlet is paused no other code uses the context, so the thread can have it.
    context = cast("contextvars.Context", current.gr_context)
    if current.home is not None:
        return block_on(_run_at_home(current.home, call, context))
    return block_on(threads.run(call, context))


async def _run_at_home(
    home: Home,
    call: Callable[[], T],
    context: contextvars.Context,
) -> T:
    outcome = _ThreadOutcome(loop=asyncio.get_running_loop())
    home.put(functools.partial(_settle, outcome, call, context))
    return cast("T", await _taken(outcome))


async def _taken(outcome: _ThreadOutcome) -> Any:  # noqa: ANN401 - the call may return anything
    try:
        await outcome
    except asyncio.CancelledError:
        outcome.forget()
        raise
    return outcome.take()
