"""Identical calls at the same time share one request."""

import asyncio
import copy
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..deadline import Limit

T = TypeVar("T")


@dataclass(slots=True)
class _Shared(Generic[T]):
    """A call under way, and how many wait for it."""

    task: asyncio.Task[T]
    limit: Limit
    waiting: int = 0


class SharedCalls(Generic[T]):
    """Calls under way on one event loop, by what makes them identical."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, _Shared[T]] = {}

    async def join(
        self, key: Hashable, limit: Limit, start: Callable[[Limit], Coroutine[Any, Any, T]]
    ) -> T:
        """Return the outcome of the call of that `key` under way, or else of `start(limit)`.

        A caller that is cancelled leaves the others their call; with the last one it ends. The
        call itself may take as long as the most patient of them waits: the limit that `start` is
        given is put off when a caller with more time joins.
        """
        shared = self._under_way.get(key)
        if shared is None or shared.task.done():
            own = copy.copy(limit)
            shared = _Shared(asyncio.create_task(start(own)), own)
            self._under_way[key] = shared
        else:
            shared.limit.ends_at = max(shared.limit.ends_at, limit.ends_at)
        shared.waiting += 1
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.waiting -= 1
            if not shared.waiting:
                if self._under_way.get(key) is shared:
                    del self._under_way[key]
                if not shared.task.done():
                    shared.task.cancel()
                    await asyncio.wait([shared.task])
