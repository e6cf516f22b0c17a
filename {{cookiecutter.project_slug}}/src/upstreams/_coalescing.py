"""Identical calls at the same time share one request."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from ._deadline import Limit
from ._errors import UpstreamError
from ._tasks import contained

T = TypeVar("T")


# A call that tells its upstream a short time to answer in is shared with callers that wait hardly
# longer, and not with others: it may be given up on too early for them.
_HARDLY_LONGER = 0.9


@dataclass(slots=True)
class _Shared(Generic[T]):
    """A call under way, and how many wait for it.

    `told` is the limit of the caller that has started it, and so what the upstream is told.
    """

    task: asyncio.Task[T]
    limit: Limit
    told: Limit
    waiting: int = 0

    def is_good_for(self, limit: Limit) -> bool:
        if self.task.done() or self.limit.passed:
            return False
        return not self.told.is_deadline or self.told.left >= _HARDLY_LONGER * limit.left


class SharedCalls(Generic[T]):
    """Calls under way on one event loop, by what makes them identical."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, _Shared[T]] = {}

    async def join(
        self, key: Hashable, limit: Limit, start: Callable[[Limit], Coroutine[Any, Any, T]]
    ) -> T:
        """Return the outcome of the call of that `key` under way, or else of `start`.

        The call itself gets the whole timeout of its `limit`: a caller in a hurry, or one that is
        cancelled, leaves it to the others. It ends with the last of them. A call that has had its
        timeout without an answer is left by those who joined it later, and they share another.
        """
        while True:
            shared = self._under_way.get(key)
            if shared is None or not shared.is_good_for(limit):
                whole = limit.whole()
                shared = _Shared(asyncio.create_task(contained(start(whole))), whole, limit)
                self._under_way[key] = shared
                patience = None  # a timer of the caller's own is as short
            else:
                patience = shared.limit.left
            shared.waiting += 1
            try:
                await _wait(shared.task, patience)
                if shared.task.done():
                    return _result(shared)
            finally:
                shared.waiting -= 1
                if not shared.waiting:
                    if self._under_way.get(key) is shared:
                        del self._under_way[key]
                    if not shared.task.done():
                        await _end(shared.task)
                    _retrieve(shared.task)
                del shared  # with an error it would be a cycle: its task, the error, this frame


async def _wait(task: asyncio.Task[T], patience: float | None) -> None:
    """Wait until `task` is done, or for so many seconds, and leave it alone in any case."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()
    wake = partial(_wake, waiter)
    timer = None if patience is None else loop.call_later(patience, wake)
    task.add_done_callback(wake)
    try:
        await waiter
    finally:
        task.remove_done_callback(wake)
        if timer is not None:
            timer.cancel()


def _wake(waiter: asyncio.Future[None], _: object = None) -> None:
    if not waiter.done():
        waiter.set_result(None)


async def _end(task: asyncio.Task[T]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _retrieve(task: asyncio.Task[T]) -> None:
    if not task.cancelled():
        task.exception()  # asyncio logs one that nobody has asked for


def _result(shared: _Shared[T]) -> T:
    # Each of several callers gets an error of its own: one that is raised in many places has a
    # traceback that grows with each, and keeps all of them alive.
    task = shared.task
    error = task.exception()
    try:
        if isinstance(error, UpstreamError) and shared.waiting > 1:
            raise error.again()
        return task.result()
    finally:
        del error, task, shared
