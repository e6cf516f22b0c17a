"""Lets synchronous code of a request wait for a coroutine, which runs on the server's loop.

Code on the loop pauses its greenlet. Code in a worker thread sends the coroutine to the loop and
blocks its thread. A task or thread that a view starts itself can do neither.
"""

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from greenlet import getcurrent

from ._greenlets import NoObserver, PausableCall, run_on_loop
from ._tasks import contained

T = TypeVar("T")


class _Thread(threading.local):
    """The event loop whose requests the current thread works for; None in any other thread."""

    server_loop: asyncio.AbstractEventLoop | None = None


_thread = _Thread()


def work_for(loop: asyncio.AbstractEventLoop) -> None:
    """Let the current thread wait for coroutines, which then run on ``loop``."""
    _thread.server_loop = loop


def waiter() -> Callable[[Coroutine[Any, Any, Any]], Any] | None:
    """Return a function that waits for a coroutine here; None where code cannot wait."""
    current = getcurrent()
    if isinstance(current, PausableCall):
        return current.wait_for
    if _thread.server_loop is not None:
        return functools.partial(_send_to_loop, _thread.server_loop)
    return None


def block_on(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``coroutine``, awaited on the server's event loop.

    Raises:
        RuntimeError: this code is not part of a request's own call. For example, it runs in a task
            that a view has started.
        BaseException: the error that the coroutine raised.
    """
    if (wait := waiter()) is not None:
        return cast("T", wait(coroutine))
    coroutine.close()
    message = "only the code of a view can wait for the server, not a task or thread that it starts"
    raise RuntimeError(message)


def _send_to_loop(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    context = contextvars.copy_context()

    async def run() -> T:
        # In a greenlet, so that synchronous code called by the coroutine can wait as well.
        wait = functools.partial(block_on, coroutine)
        return await run_on_loop(wait, context, NoObserver())

    try:
        return asyncio.run_coroutine_threadsafe(contained(run()), loop).result()
    finally:
        # The coroutine ran in a copy of this thread's context. Carry over the variables that it
        # set, as an `await` would.
        for variable, value in context.items():
            if variable.get(_UNSET) is not value:
                variable.set(value)


_UNSET: Any = object()
