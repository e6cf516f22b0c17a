"""Tasks whose errors end their own call, and not the event loop or another call."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def contained(work: Awaitable[T]) -> T:
    """Return what `work` returns; run it as the task of a call.

    asyncio raises a task's `SystemExit` or `KeyboardInterrupt` again from `run_forever`, which
    would end the server for every request. A `CancelledError` can come from another task that
    `work` waited for, and would look like a cancellation of this task.

    Raises `RuntimeError` in place of these three, unless this task was cancelled.
    """
    try:
        return await work
    except (SystemExit, KeyboardInterrupt) as error:
        message = f"a call raised {type(error).__name__}"
        raise RuntimeError(message) from error
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        raise not_cancelled() from error


def is_cancelled() -> bool:
    """Return whether the running task was cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def not_cancelled() -> RuntimeError:
    """Return the error for a `CancelledError` in a task that was not cancelled."""
    return RuntimeError("a call waited for something that was cancelled")
