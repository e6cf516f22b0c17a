"""What the views do. Every peer's views call these, so only what is around them differs."""

import asyncio
from typing import TypeVar

T = TypeVar("T")

THREADS = 64  # for the synchronous views of every peer


def before() -> None:
    """Do nothing, before the view; in a thread, as it could block."""


def after(response: T) -> T:
    """Do nothing, after the view."""
    return response


class _Held:
    """How many requests are inside `hold`."""

    now = 0


async def wait() -> dict[str, bool]:
    """Waits for three things at once, 50 ms each."""
    await asyncio.gather(*(asyncio.sleep(0.05) for _ in range(3)))
    return {"ok": True}


async def hold(seconds: float) -> dict[str, int]:
    """Keeps a request in flight, and tells how many there were when it came, itself included."""
    _Held.now += 1
    inside = _Held.now
    try:
        await asyncio.sleep(seconds)
    finally:
        _Held.now -= 1
    return {"inside": inside}
