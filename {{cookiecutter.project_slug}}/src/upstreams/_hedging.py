"""A second try beside one that takes longer than usual; the first answer wins.

"The Tail at Scale" (Dean and Barroso, 2013) calls it a hedged request.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ._tasks import contained

T = TypeVar("T")

KEPT = 100  # latencies: enough for a percentile, few enough to follow an upstream that changes
ENOUGH = 20  # below which a percentile is a guess


class Latencies:
    """How long the latest answers took, in seconds."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=KEPT)

    def note(self, seconds: float) -> None:
        """Count an answer."""
        self._seconds.append(seconds)

    @property
    def p95(self) -> float | None:
        """What 95 % of the latest answers did not exceed; None while there are too few."""
        if len(self._seconds) < ENOUGH:
            return None
        return sorted(self._seconds)[len(self._seconds) * 95 // 100]


async def hedged(
    attempt: Callable[[], Coroutine[Any, Any, T]], *, delay: float, may: Callable[[], bool]
) -> T:
    """Return what `attempt` returns; after `delay` seconds start a second one, if it `may` be.

    The first to succeed wins; when both fail, the later error is raised. Whatever happens, both
    have ended by then.
    """
    tasks = [asyncio.create_task(contained(attempt()))]
    try:
        await asyncio.wait(tasks, timeout=delay)
        if not tasks[0].done() and may():
            tasks.append(asyncio.create_task(contained(attempt())))
        return await _first_success(set(tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # With an error it would be a cycle: a task, its error, this frame.
        tasks.clear()


async def _first_success(tasks: set[asyncio.Task[T]]) -> T:
    while True:
        done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        successes = [task for task in done if task.exception() is None]
        if successes or not tasks:
            try:
                return (successes or [*done])[0].result()
            finally:
                del done, successes  # with an error, a cycle as well
