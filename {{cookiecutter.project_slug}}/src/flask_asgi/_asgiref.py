"""Lets code that calls asgiref's `async_to_sync` directly wait for the server's loop.

Flask's own code reaches the loop through `Flask.async_to_sync`. Other code does not: extensions
that call `ensure_sync` before the application is served, and code that imports `async_to_sync`. On
the loop asgiref refuses to wait. In a thread it starts another loop, where connections that belong
to the server's loop do not work.
"""

import functools
from collections.abc import Callable
from typing import Any

from asgiref.sync import AsyncToSync

from ._waiting import waiter


def teach() -> None:
    """Replace `AsyncToSync.__call__` in this process. A second call does nothing.

    The code of requests that this engine serves then waits for the server's loop. Other code, and
    calls with ``force_new_loop``, behave as before.
    """
    original: Any = AsyncToSync.__call__
    if not hasattr(original, "__wrapped__"):
        AsyncToSync.__call__ = _taught(original)  # type: ignore[method-assign]


def unteach() -> None:
    """Undo the replacement, for tests."""
    AsyncToSync.__call__ = getattr(AsyncToSync.__call__, "__wrapped__", AsyncToSync.__call__)  # type: ignore[method-assign]


def _taught(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - asgiref's
        if self.force_new_loop or (wait := waiter()) is None:
            return original(self, *args, **kwargs)
        return wait(_awaited(self.awaitable, args, kwargs))

    return call


async def _awaited(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:  # noqa: ANN401 - as above
    return await function(*args, **kwargs)
