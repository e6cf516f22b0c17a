"""Code that runs in a task of its own: whatever it raises ends its call, and nothing more."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def contained(work: Awaitable[T]) -> T:
    """Return what `work` returns, in a task made for it.

    asyncio raises `SystemExit` and `KeyboardInterrupt` of a task once more out of `run_forever`,
    which would end the server for every request. And a `CancelledError` says that this task was
    asked to stop, also when it only comes from another task that `work` waited for.

    Raises:
        RuntimeError: in place of these three, where nobody has asked this task to stop.
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
    """Tell whether somebody has asked the running task to stop."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def not_cancelled() -> RuntimeError:
    """Return the error for a `CancelledError` that nobody has asked for."""
    return RuntimeError("a call waited for something that was cancelled")
