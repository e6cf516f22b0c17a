"""The work of the views. Every peer's views call it, so only the frameworks differ."""

import asyncio
from typing import TypeVar

T = TypeVar("T")

THREADS = 64  # for the synchronous views of every peer


def before() -> None:
    """Do nothing before the view; in a thread, as a hook could block."""


def after(response: T) -> T:
    """Do nothing after the view."""
    return response


class _Held:
    """The number of requests inside `hold`."""

    now = 0


async def wait() -> dict[str, bool]:
    """Waits three times at once, 50 ms each."""
    await asyncio.gather(*(asyncio.sleep(0.05) for _ in range(3)))
    return {"ok": True}


async def hold(seconds: float) -> dict[str, int]:
    """Keeps a request in flight; returns the requests in flight at its arrival, including it."""
    _Held.now += 1
    inside = _Held.now
    try:
        await asyncio.sleep(seconds)
    finally:
        _Held.now -= 1
    return {"inside": inside}
