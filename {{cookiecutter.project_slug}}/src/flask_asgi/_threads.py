"""A bounded pool of worker threads, in which sync views run."""

import asyncio
import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from ._greenlets import current_call
from ._outcome import Outcome
from ._waiting import block_on, work_for

T = TypeVar("T")


class _ThreadOutcome(Outcome, asyncio.Future[None]):
    """The outcome of a call in a thread: a future that is done when the call has ended."""

    def settle(self, returned: object, raised: BaseException | None) -> None:
        if not self.done():
            self.returned, self.raised = returned, raised
            self.set_result(None)

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ANN401, ARG002 - asyncio's signature
        # The call cannot be interrupted. A task whose future refuses to be cancelled is cancelled
        # as soon as that future is done.
        return False

    def abandon(self) -> None:
        super().cancel()


class ThreadPool:
    """Runs calls in at most ``size`` threads, which are started when they are needed.

    It is full when ``max_waiting`` more calls wait for a thread. `run` does not check: ask
    `is_full` first.

    A call that waits for its client (`park`) gives its place to another call. Up to ``size`` calls
    can be parked, so there are never more than twice as many threads.

    The threads are daemons: a call that never ends must not keep a server from stopping.
    """

    def __init__(self, size: int, max_waiting: int) -> None:
        self.size = size
        self.max_waiting = max_waiting
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._outcomes: set[_ThreadOutcome] = set()
        self._parked: dict[asyncio.Task[Any], Callable[[], float]] = {}
        self._threads = 0

    def is_full(self) -> bool:
        """Tell whether ``max_waiting`` calls already wait for a thread."""
        return len(self._outcomes) - len(self._parked) >= self.size + self.max_waiting

    async def run(self, call: Callable[[], T], context: contextvars.Context) -> T:
        """Return the result of ``call``, run in a thread and in ``context``.

        A cancellation takes effect when the call has ended: a thread cannot be interrupted.

        Raises:
            BaseException: the error that ``call`` raised.
        """
        loop = asyncio.get_running_loop()
        outcome = _ThreadOutcome(loop=loop)

        def work() -> None:
            work_for(loop)
            result, error = None, None
            try:
                result = context.run(call)
            except BaseException as raised:  # noqa: BLE001 - `run` raises it in its caller
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed, and no task waits
                loop.call_soon_threadsafe(outcome.settle, result, error)

        self._outcomes.add(outcome)
        self._start_thread_if_needed()
        self._calls.put(work)
        try:
            await outcome
        finally:
            self._outcomes.discard(outcome)
            self._end_thread_if_spare()
        return cast("T", outcome.take())

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

    def _start_thread_if_needed(self) -> None:
        calls = len(self._outcomes) - len(self._parked)
        if self._threads - len(self._parked) < min(calls, self.size):
            self._threads += 1
            threading.Thread(target=_serve, args=(self._calls,), name="view", daemon=True).start()

    def _end_thread_if_spare(self) -> None:
        if self._threads - len(self._parked) > self.size:
            self._threads -= 1
            self._calls.put(None)

    def close(self) -> None:
        """End the idle threads, and no longer wait for the calls that still run in the others."""
        for outcome in list(self._outcomes):
            outcome.abandon()
        for _ in range(self._threads):
            self._calls.put(None)
        self._threads = 0


def _serve(calls: "queue.SimpleQueue[Callable[[], None] | None]") -> None:
    while (work := calls.get()) is not None:
        work()
        del work  # an idle thread must not keep the last request alive


def block_on_thread(threads: ThreadPool, call: Callable[[], T]) -> T:
    """Return the result of ``call``, run in a thread while this code, on the loop, is paused.

    Raises:
        BaseException: the error that ``call`` raised.
    """
    current = current_call()
    if current is None:  # the body was made on the loop, but is sent from a thread
        return call()
    # While its greenlet is paused no other code uses the context, so the thread can have it.
    context = cast("contextvars.Context", current.gr_context)
    return block_on(threads.run(call, context))
