"""Lets calls in a worker thread wait for coroutines, which run on the server's event loop."""

import asyncio
import concurrent.futures
import contextvars
import functools
import queue
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from ._greenlets import Home, NoObserver, Observer, PausableCall, current_call, run_on_loop
from ._tasks import contained

T = TypeVar("T")


class Places(Protocol):
    """The places of a pool of threads: see `ThreadPool`."""

    def away(self) -> AbstractContextManager[None]:
        """Let another call have the place of this one, which waits for the loop in the block."""

    def can_be_away(self) -> bool:
        """Tell whether one more call may enter `away`."""


class Visits:
    """The coroutines that a request in a thread runs on the loop, one after another: its visits.

    Args:
        loop: where the coroutines run.
        observer: is told when a coroutine waits, and when it is cancelled.
        places: those of the thread's pool.
        keeps_thread: called at the end of each call, in its context. If it returns True, the thread
            waits for the next call of the request.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        observer: Observer,
        places: Places,
        keeps_thread: Callable[[], bool] = bool,
    ) -> None:
        self._loop = loop
        self._observer = observer
        self._places = places
        self._keeps_thread = keeps_thread
        self.kept: Home | None = None  # the queue of the kept thread's calls
        self._is_cancelled = False
        self.task: asyncio.Task[Any] | None = None  # of the current, innermost visit

    def begin_call(self) -> None:
        """Forget a cancellation that the last call did not notice: the next call may clean up."""
        self._is_cancelled = False

    def note_end(self, context: contextvars.Context) -> None:
        """Keep the thread for the next call, or give it back. Call it in the thread."""
        if not context.run(self._keeps_thread):
            self.kept = None
        elif self.kept is None and self._places.can_be_away():
            self.kept = queue.SimpleQueue()

    def cancel(self) -> None:
        """Cancel the current visit; without one, the next visit. Call it on the loop."""
        if self.task is None:
            self._is_cancelled = True
        else:
            self.task.cancel()

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the result of ``coroutine``, for the call whose thread this is.

        Meanwhile the thread runs the calls that the coroutine's synchronous code sends to it: see
        `block_on_thread`.

        Raises:
            BaseException: the error that the coroutine raised, or `asyncio.CancelledError`.
        """
        return self._visit(coroutine, self._observed)

    def wait_unobserved(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Do the same for a coroutine of the engine itself, which has its own time limit."""
        return self._visit(coroutine, self._unobserved)

    def _visit(self, coroutine: Coroutine[Any, Any, T], run: Callable[..., Any]) -> T:
        context = contextvars.copy_context()
        home: Home = queue.SimpleQueue()
        visit = run(coroutine, context, home)
        future = asyncio.run_coroutine_threadsafe(contained(visit), self._loop)
        future.add_done_callback(functools.partial(_end, home))
        try:
            while (call := home.get()) is not None:
                call()
                del call
            return future.result()  # type: ignore[no-any-return]
        except concurrent.futures.CancelledError:
            raise asyncio.CancelledError from None
        finally:
            del future  # keeps the error, whose traceback keeps this frame
            # The coroutine ran in a copy of this thread's context. Carry over the variables that it
            # set, as an `await` would.
            for variable, value in context.items():
                if variable.get(_UNSET) is not value:
                    variable.set(value)

    async def _observed(
        self,
        coroutine: Coroutine[Any, Any, T],
        context: contextvars.Context,
        home: Home,
    ) -> T:
        if self._is_cancelled:
            self._is_cancelled = False
            coroutine.close()
            self._observer.on_cancel()
            raise asyncio.CancelledError
        outer, self.task = self.task, asyncio.current_task()
        absence = _Absence(self._observer, self._places)
        try:
            return await run_on_loop(functools.partial(_wait, coroutine), context, absence, home)
        finally:
            absence.end()
            self.task = outer

    async def _unobserved(
        self,
        coroutine: Coroutine[Any, Any, T],
        context: contextvars.Context,
        home: Home,
    ) -> T:
        wait = functools.partial(_wait, coroutine)
        return await run_on_loop(wait, context, NoObserver(), home)


class _Absence:
    """The observer of one visit. The thread counts as away from the visit's first wait.

    A coroutine that never waits ends before another thread could take the place.
    """

    def __init__(self, observer: Observer, places: Places) -> None:
        self._observer = observer
        self._places = places
        self._away: AbstractContextManager[None] | None = None

    def on_wait(self) -> None:
        if self._away is None:
            self._away = self._places.away()
            self._away.__enter__()
        self._observer.on_wait()

    def on_cancel(self) -> None:
        self._observer.on_cancel()

    def end(self) -> None:
        if self._away is not None:
            self._away.__exit__(None, None, None)


def _wait(coroutine: Coroutine[Any, Any, T]) -> T:
    # In a greenlet, so that synchronous code called by the coroutine can wait as well.
    call: PausableCall = current_call()  # type: ignore[assignment] # this is one
    return call.wait_for(coroutine)


def _end(home: Home, _future: object) -> None:
    home.put(None)


_UNSET: Any = object()
