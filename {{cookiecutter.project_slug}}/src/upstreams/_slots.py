"""Slots for calls to an upstream: the call of the oldest request gets the next free one."""

import asyncio
from bisect import bisect_left, insort
from itertools import count
from time import monotonic

from ._deadline import request_number
from ._errors import UpstreamBusy
from ._observer import NOBODY, Observer

# Seconds. The `retry_after` of a refused call: a queue empties quickly.
COME_BACK = 1.0

NONE_FREE = "had no connection free in time"

# The weight of the latest call in the mean time that a call holds a slot.
_WEIGHT = 0.1

# Sorted from the youngest request to the oldest, so that the next waiter is at the end. The second
# number keeps the calls of one request in their order.
_Waiter = tuple[int, int, asyncio.Future[bool]]


class Slots:
    """Limits the calls to an upstream at a time, on one event loop.

    Under overload whole requests then finish one after another. Without this order every request
    would get some of its calls through, and all would run out of time together.
    """

    def __init__(
        self, upstream: str, *, size: int, max_waiting: int, observer: Observer = NOBODY
    ) -> None:
        self._upstream = upstream
        self._observer = observer
        self._size = self._free = size
        self._max_waiting = max_waiting
        self._waiting: list[_Waiter] = []
        self._order = count()
        self._mean_hold = 0.0

    async def take(self, patience: float) -> float:
        """Wait up to `patience` seconds for a slot; return when it was taken, for `release`.

        Raises `UpstreamBusy` when no slot becomes free by then. Raises it at once when too many
        calls of older requests wait, or when the wait would be too long at the current pace.
        """
        if self._free:  # then no call waits
            self._free -= 1
        else:
            await self._wait(patience)
        self._observer.connection_taken(self._upstream)
        return monotonic()

    async def _wait(self, patience: float) -> None:
        waiter = self._join(patience)
        began = monotonic()
        self._observer.wait_began(self._upstream)
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
            self._observer.wait_ended(self._upstream, monotonic() - began)
        if not is_mine:
            self._leave(waiter)
            raise self._busy()

    def release(self, taken_at: float) -> None:
        """Give back the slot that was taken at the moment `taken_at`, of `time.monotonic`."""
        held = monotonic() - taken_at
        self._mean_hold += _WEIGHT * (held - self._mean_hold)
        self._hand_on()
        self._observer.connection_released(self._upstream, held)

    def _join(self, patience: float) -> _Waiter:
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        waiter = (-request_number(), -next(self._order), future)
        ahead = len(self._waiting) - bisect_left(self._waiting, waiter)
        if ahead >= self._max_waiting or ahead * self._mean_hold > patience * self._size:
            raise self._busy()
        if len(self._waiting) >= self._max_waiting:
            _settle(self._waiting.pop(0)[2])  # the youngest request's call is refused
        insort(self._waiting, waiter)
        return waiter

    def _leave(self, waiter: _Waiter) -> None:
        index = bisect_left(self._waiting, waiter)
        if index < len(self._waiting) and self._waiting[index] is waiter:
            del self._waiting[index]

    def _hand_on(self) -> None:
        while self._waiting:
            future = self._waiting.pop()[2]
            if not future.done():  # a waiter that was cancelled a moment ago is done
                future.set_result(True)
                return
        self._free += 1

    def _busy(self) -> UpstreamBusy:
        return UpstreamBusy(self._upstream, NONE_FREE, retry_after=COME_BACK)


def _settle(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(False)


def _has_slot(waiter: _Waiter) -> bool:
    future = waiter[2]
    return future.done() and not future.cancelled() and future.result()
