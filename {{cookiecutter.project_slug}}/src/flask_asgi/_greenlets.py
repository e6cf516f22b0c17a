"""Runs a synchronous call on the event loop in a greenlet, which can be paused while it waits.

Flask's dispatch is synchronous, but inside it an ``async def`` view has to be awaited. The greenlet
makes that possible: it passes the future that it waits for to the server's task, is paused, and is
resumed with the future's result.
"""

import asyncio
import contextvars
import queue
import threading
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol, TypeVar, cast

from greenlet import getcurrent, greenlet

from ._outcome import Outcome

T = TypeVar("T")

# Takes calls for a thread that waits for the loop, and None when it need not wait any longer.
Home = queue.SimpleQueue[Callable[[], None] | None]

# A new greenlet maps 16 KiB for its frames (CPython 3.11 and later), so greenlets are kept and
# reused. At most this many idle ones are kept per thread; only a burst of requests needs more.
MAX_IDLE_GREENLETS = 1000


class PausableCall(Outcome, greenlet):
    """A greenlet that runs one call after another and can be paused in the middle of each."""

    finished = True
    # The queue of the thread that waits for this call; None if no thread waits.
    home: Home | None = None

    @classmethod
    def started(cls) -> "PausableCall":
        """Return a new greenlet that waits for its first call."""
        pausable = cls()
        pausable.switch()
        return pausable

    def run(self) -> None:
        """Run the calls that the greenlet is resumed with, and pause after each.

        The first switch to it brings no call: greenlet keeps the arguments of that switch alive for
        as long as `run` lasts.
        """
        call = self.pause()
        while True:
            try:
                self.returned = call()
            except BaseException as error:  # noqa: BLE001 - `run_on_loop` raises it in its caller
                self.raised = error
            del call  # an idle greenlet must not keep the last request alive
            self.finished = True
            call = self.pause()

    def pause(self, value: object = None) -> Any:  # noqa: ANN401 - whatever it is resumed with
        """Pass `value` to the parent greenlet; return the value that this one is resumed with."""
        assert self.parent is not None  # noqa: S101 - only a thread's main greenlet has no parent
        return self.parent.switch(value)

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Drive `coroutine` inside this greenlet, as a task would, and return its result.

        The futures that the coroutine waits for go to `run_on_loop` in the parent, which yields
        them to the server's task.
        """
        resume: Callable[[Any], Any] = coroutine.send
        value: Any = None
        try:
            while True:
                future = resume(value)
                try:
                    value, resume = self.pause(future), coroutine.send
                except BaseException as error:  # noqa: BLE001 - raised where the coroutine waits
                    value, resume = error, coroutine.throw
        except StopIteration as stop:
            return cast("T", stop.value)
        finally:
            del value  # would form a cycle, as in `Outcome.take`


class _Idle(threading.local):
    """The idle greenlets of the current thread: a greenlet only runs in the thread that made it."""

    def __init__(self) -> None:
        self.greenlets: list[PausableCall] = []


_idle = _Idle()


class Observer(Protocol):
    """Is told when a call on the loop is about to wait, and when its wait is cancelled."""

    def on_wait(self) -> None:
        """Called each time before the call waits."""

    def on_cancel(self) -> None:
        """Called before the call is resumed with a `CancelledError`."""


class NoObserver:
    """An observer that does nothing."""

    def on_wait(self) -> None:
        """Do nothing."""

    def on_cancel(self) -> None:
        """Do nothing."""


@types.coroutine
def run_on_loop(
    call: Callable[[], T],
    context: contextvars.Context,
    observer: Observer,
    home: Home | None = None,
) -> Generator[Any, Any, T]:
    """Return the result of ``call``, run in ``context`` in a greenlet of the current thread.

    Inside ``call`` synchronous code can wait for a coroutine (`_waiting.block_on`); the event loop
    goes on meanwhile. ``home`` takes calls for the thread that waits for ``call``, if one does.

    Raises:
        BaseException: the error that ``call`` raised. A cancellation of the task is raised inside
            ``call``, where it waits.
    """
    idle = _idle.greenlets
    pausable = idle.pop() if idle else PausableCall.started()
    # A greenlet is resumed by its parent, which may have changed since its previous call.
    if pausable.parent is not (driver := getcurrent()):
        pausable.parent = driver
    pausable.gr_context = context
    pausable.home = home
    pausable.finished = False
    future = pausable.switch(call)
    while not pausable.finished:
        observer.on_wait()
        try:
            value = yield future
        except asyncio.CancelledError as error:
            observer.on_cancel()
            future = pausable.throw(error)
        except BaseException as error:  # noqa: BLE001 - raised inside the call
            future = pausable.throw(error)
        else:
            future = pausable.switch(value)
    pausable.gr_context = pausable.home = None
    if len(idle) < MAX_IDLE_GREENLETS:
        idle.append(pausable)
    return cast("T", pausable.take())


def current_call() -> PausableCall | None:
    """Return the greenlet of `run_on_loop` that this code runs in; None outside of one."""
    current = getcurrent()
    return current if isinstance(current, PausableCall) else None


def is_on_loop() -> bool:
    """Tell whether this code runs inside `run_on_loop`, where blocking would stop the server."""
    return isinstance(getcurrent(), PausableCall)


def is_cancelled() -> bool:
    """Tell whether the request whose code runs here, on the loop, is being cancelled."""
    task = asyncio.current_task() if is_on_loop() else None
    return task is not None and task.cancelling() > 0
