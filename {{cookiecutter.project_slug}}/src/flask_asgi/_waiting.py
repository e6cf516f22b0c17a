"""Lets synchronous code of a request wait for a coroutine, which runs on the server's loop.

Code on the loop pauses its greenlet. Code in a worker thread sends the coroutine to the loop and
blocks its thread. A task or thread that a view starts itself can do neither.
"""

import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from greenlet import getcurrent

from ._greenlets import PausableCall
from ._visits import Visits

T = TypeVar("T")


class _Thread(threading.local):
    """How the call in the current thread waits for the loop; None where no request runs."""

    visits: Visits | None = None


_thread = _Thread()


def work_with(visits: Visits | None) -> None:
    """Let the current thread's call wait for coroutines through ``visits``."""
    _thread.visits = visits


def waiter() -> Callable[[Coroutine[Any, Any, Any]], Any] | None:
    """Return a function that waits for a coroutine here; None where code cannot wait."""
    current = getcurrent()
    if isinstance(current, PausableCall):
        return current.wait_for
    return None if _thread.visits is None else _thread.visits.wait_for


def block_on(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``coroutine``, a part of the engine, awaited on the server's event loop.

    Raises:
        RuntimeError: this code is not part of a request's own call. For example, it runs in a task
            that a view has started.
        BaseException: the error that the coroutine raised.
    """
    current = getcurrent()
    if isinstance(current, PausableCall):
        return current.wait_for(coroutine)
    if _thread.visits is not None:
        return _thread.visits.wait_unobserved(coroutine)
    coroutine.close()
    message = "only the code of a view can wait for the server, not a task or thread that it starts"
    raise RuntimeError(message)
