"""Lets code that uses asgiref's `async_to_sync` itself wait for the server's loop.

Flask finds its own way to it by `Flask.async_to_sync`. Some code does not ask Flask: extensions
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

    The code of requests that this engine serves waits for the server's loop; any other code, and
    what asks for a new loop (``force_new_loop``), goes on as before.
    """
    original: Any = AsyncToSync.__call__
    if not hasattr(original, "__wrapped__"):
        AsyncToSync.__call__ = _taught(original)  # type: ignore[method-assign]


def unteach() -> None:
    """Take the replacement back, for tests."""
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
