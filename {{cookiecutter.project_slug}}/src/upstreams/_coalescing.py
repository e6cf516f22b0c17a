"""Identical calls at the same time share one request."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from ._deadline import Deadline
from ._errors import UpstreamError
from ._tasks import contained

T = TypeVar("T")


# A caller joins a call only if the upstream was told at least this share of the caller's time. With
# a shorter time the upstream may give up too early for this caller.
_ENOUGH = 0.9


@dataclass(slots=True)
class _Shared(Generic[T]):
    """A call in flight, with the number of callers that wait for it.

    `announced` is the deadline of the caller that started the call, which the upstream was told.
    """

    task: asyncio.Task[T]
    deadline: Deadline
    announced: Deadline
    waiting: int = 0

    def is_good_for(self, deadline: Deadline) -> bool:
        if self.task.done() or self.deadline.passed:
            return False
        is_whole = not self.announced.ends_with_request
        return is_whole or self.announced.left >= _ENOUGH * deadline.left


class SharedCalls(Generic[T]):
    """Calls in flight on one event loop, by the key that identical calls have in common."""

    def __init__(self, on_join: Callable[[], object] = lambda: None) -> None:
        """Take `on_join`, which is called when a caller joins a call in flight."""
        self._under_way: dict[Hashable, _Shared[T]] = {}
        self._on_join = on_join

    async def join(
        self, key: Hashable, deadline: Deadline, start: Callable[[Deadline], Coroutine[Any, Any, T]]
    ) -> T:
        """Return the outcome of the call in flight with that `key`; without one, call `start`.

        The call gets its whole timeout, even if its first caller's request has less time left. A
        caller that runs out of time or is cancelled leaves, and the call goes on for the others. It
        is cancelled when the last caller leaves. If a call times out without an answer, the callers
        that joined it later share a new call.

        Raises `TimeoutError` when this caller's `deadline` has passed, and the call's own errors.
        """
        while True:
            shared = self._under_way.get(key)
            if shared is None or not shared.is_good_for(deadline):
                whole = deadline.without_request()
                shared = _Shared(asyncio.create_task(contained(start(whole))), whole, deadline)
                self._under_way[key] = shared
            else:
                self._on_join()
            shared.waiting += 1
            try:
                await _wait(shared.task, min(deadline.left, shared.deadline.left))
                if shared.task.done():
                    return _result(shared)
                if deadline.passed:
                    raise TimeoutError
            finally:
                shared.waiting -= 1
                if not shared.waiting:
                    if self._under_way.get(key) is shared:
                        del self._under_way[key]
                    if not shared.task.done():
                        await _end(shared.task)
                    _retrieve(shared.task)
                del shared  # an error would form a cycle: its task, the error, this frame


async def _wait(task: asyncio.Task[T], patience: float) -> None:
    """Wait until `task` is done, at most `patience` seconds. The task goes on in any case."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()
    wake = partial(_wake, waiter)
    timer = loop.call_later(patience, wake)
    task.add_done_callback(wake)
    try:
        await waiter
    finally:
        task.remove_done_callback(wake)
        timer.cancel()


def _wake(waiter: asyncio.Future[None], _: object = None) -> None:
    if not waiter.done():
        waiter.set_result(None)


async def _end(task: asyncio.Task[T]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _retrieve(task: asyncio.Task[T]) -> None:
    if not task.cancelled():
        task.exception()  # otherwise asyncio would log it


def _result(shared: _Shared[T]) -> T:
    # Each of several callers gets a separate copy of the error. The traceback of a shared error
    # would grow with every raise, and keep the frames of all callers alive.
    task = shared.task
    error = task.exception()
    try:
        if isinstance(error, UpstreamError) and shared.waiting > 1:
            raise error.again()
        return task.result()
    finally:
        del error, task, shared
