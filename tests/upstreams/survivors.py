"""Counts what calls leave for the collector of cyclic garbage."""

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from upstreams import DeadlineExceeded, UpstreamError

REPEATS = 30
ROUNDS = 10  # at most; the first one will nearly always do


async def left_by(call: Callable[[], Awaitable[object]]) -> Counter[str]:
    """Return what only the collector frees after `REPEATS` calls, by type.

    The least of some rounds: a cycle that a coincidence leaves once is none that piles up. On a
    busy machine, where every timer is late, one coincidence follows another.
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
        for _ in range(20):  # what the loop has still to do, such as closing a connection
            await asyncio.sleep(0)

    await repeat(3)
    gc.freeze()  # what was there before is none of it, garbage or not, and takes long to look at
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
