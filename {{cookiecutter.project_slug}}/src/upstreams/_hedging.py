"""Hedged requests: a second try when the first takes longer than usual; the first answer wins.

The term is from "The Tail at Scale" (Dean and Barroso, 2013).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ._tasks import contained

T = TypeVar("T")

# How many latencies are kept: enough for a percentile, and few enough to follow a change.
KEPT = 100

# How many latencies a percentile needs; from fewer it would be a guess.
ENOUGH = 20


class Latencies:
    """The latencies of the latest answers, in seconds."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=KEPT)

    def note(self, seconds: float) -> None:
        """Add the latency of an answer."""
        self._seconds.append(seconds)

    @property
    def p95(self) -> float | None:
        """The 95th percentile of the latest latencies; None while there are too few."""
        if len(self._seconds) < ENOUGH:
            return None
        return sorted(self._seconds)[len(self._seconds) * 95 // 100]


async def hedged(
    attempt: Callable[[], Coroutine[Any, Any, T]],
    *,
    delay: float,
    may: Callable[[], bool],
    won: Callable[[], object] = lambda: None,
) -> T:
    """Return what `attempt` returns; after `delay` seconds start a second attempt if `may()`.

    The first success wins; `won` is called when that is the second attempt. When both attempts
    fail, the later error is raised. Both have ended when this returns, raises or is cancelled.
    """
    tasks = [asyncio.create_task(contained(attempt()))]
    try:
        await asyncio.wait(tasks, timeout=delay)
        if not tasks[0].done() and may():
            tasks.append(asyncio.create_task(contained(attempt())))
        result = await _first_success(set(tasks))
        if not _has_succeeded(tasks[0]):
            won()
        return result
    finally:
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:  # also when this is cancelled
            # An error would form a cycle: a task, its error, this frame.
            tasks.clear()
            del task


def _has_succeeded(task: asyncio.Task[T]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


async def _first_success(tasks: set[asyncio.Task[T]]) -> T:
    while True:
        done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        successes = [task for task in done if task.exception() is None]
        if successes or not tasks:
            try:
                return (successes or [*done])[0].result()
            finally:
                del done, successes  # an error would form a cycle here too
