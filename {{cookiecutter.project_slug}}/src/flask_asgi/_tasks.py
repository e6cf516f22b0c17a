"""Keeps an error inside a task from ending the server."""

from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def contained(coroutine: Awaitable[T]) -> T:
    """Return the result of ``coroutine``. Wrap the coroutine of every task in this.

    asyncio lets ``SystemExit`` and ``KeyboardInterrupt`` out of a task and out of the loop's
    ``run_forever``: a single ``sys.exit()`` in a view would end the server.

    Raises:
        RuntimeError: the coroutine raised ``SystemExit`` or ``KeyboardInterrupt``.
        BaseException: any other error that the coroutine raised.
    """
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        message = f"{error!r} would have ended the server"
        raise RuntimeError(message) from error
