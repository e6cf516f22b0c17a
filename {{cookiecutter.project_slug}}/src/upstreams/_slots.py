"""Who gets a connection next: the call of the request that began first."""

import asyncio
from bisect import bisect_left, insort
from itertools import count
from time import monotonic

from ._deadline import place
from ._errors import UpstreamBusy

# In seconds. What a caller is told to wait when calls queue up: a queue empties within a moment.
COME_BACK = 1.0

# How much the latest call counts in the mean time that a call has a slot.
_WEIGHT = 0.1

# From the youngest request to the oldest, so that the next one to get a slot is at the end. The
# second number keeps the calls of one request in their order.
_Waiter = tuple[int, int, asyncio.Future[bool]]


class Slots:
    """The calls that an upstream gets at a time, on one event loop.

    Under overload whole requests finish in this order, instead of all of them getting a part of
    their calls through and then running out of time together.
    """

    def __init__(self, upstream: str, *, size: int, max_waiting: int) -> None:
        self._upstream = upstream
        self._size = self._free = size
        self._max_waiting = max_waiting
        self._waiting: list[_Waiter] = []
        self._order = count()
        self._mean_hold = 0.0

    async def take(self, patience: float) -> float:
        """Wait up to `patience` seconds for a slot; return the moment, for `release`.

        Raises `UpstreamBusy` when none becomes free by then, and at once when it cannot: when too
        many wait whose requests began earlier, or at the pace at which slots become free.
        """
        if self._free:  # then nobody waits
            self._free -= 1
            return monotonic()
        waiter = self._join(patience)
        timer = asyncio.get_running_loop().call_later(patience, _settle, waiter[2])
        try:
            is_mine = await waiter[2]
        except BaseException:
            if _has_slot(waiter):
                self._hand_on()
            else:
                self._leave(waiter)
            raise
        finally:
            timer.cancel()
        if not is_mine:
            self._leave(waiter)
            raise self._busy()
        return monotonic()

    def release(self, taken_at: float) -> None:
        """Give back a slot that was taken at that moment."""
        self._mean_hold += _WEIGHT * (monotonic() - taken_at - self._mean_hold)
        self._hand_on()

    def _join(self, patience: float) -> _Waiter:
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        waiter = (-place(), -next(self._order), future)
        ahead = len(self._waiting) - bisect_left(self._waiting, waiter)
        if ahead >= self._max_waiting or ahead * self._mean_hold > patience * self._size:
            raise self._busy()
        if len(self._waiting) >= self._max_waiting:
            _settle(self._waiting.pop(0)[2])  # the youngest makes room
        insort(self._waiting, waiter)
        return waiter

    def _leave(self, waiter: _Waiter) -> None:
        index = bisect_left(self._waiting, waiter)
        if index < len(self._waiting) and self._waiting[index] is waiter:
            del self._waiting[index]

    def _hand_on(self) -> None:
        while self._waiting:
            future = self._waiting.pop()[2]
            if not future.done():  # as one is that was cancelled a moment ago
                future.set_result(True)
                return
        self._free += 1

    def _busy(self) -> UpstreamBusy:
        detail = "had no connection free in time"
        return UpstreamBusy(self._upstream, detail, retry_after=COME_BACK)


def _settle(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(False)


def _has_slot(waiter: _Waiter) -> bool:
    future = waiter[2]
    return future.done() and not future.cancelled() and future.result()
