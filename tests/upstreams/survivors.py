"""Counts the objects that calls leave for the garbage collector."""

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from upstreams import DeadlineExceeded, UpstreamError

REPEATS = 30
ROUNDS = 10  # at most; the first is nearly always enough


async def left_by(call: Callable[[], Awaitable[object]]) -> Counter[str]:
    """Return the objects that only the collector frees after `REPEATS` calls, by type.

    It is the minimum of several rounds: a cycle that a coincidence leaves once does not pile up. On
    a busy machine, where every timer is late, coincidences are frequent.
    """
    rounds = [await _left_by(call)]
    while rounds[-1].total() >= REPEATS and len(rounds) < ROUNDS:
        rounds.append(await _left_by(call))
    return rounds[-1]


async def _left_by(call: Callable[[], Awaitable[object]]) -> Counter[str]:

    async def repeat(times: int) -> None:
        for _ in range(times):
            with suppress(UpstreamError, DeadlineExceeded, asyncio.CancelledError):
                await call()
        for _ in range(20):  # pending work of the loop, such as closing a connection
            await asyncio.sleep(0)

    await repeat(3)
    gc.freeze()  # earlier objects, garbage or not, do not count, and slow the search
    gc.disable()
    try:
        await repeat(REPEATS)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return Counter(type(each).__qualname__ for each in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.unfreeze()


def assert_nothing(left: Counter[str]) -> None:
    assert left.total() < REPEATS, f"left for the collector: {left.most_common(12)}"
