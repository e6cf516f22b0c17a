"""Watches the client of a view that waits on the loop, and applies the request timeout."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto

from ._request_body import Incoming

# Seconds. Watching for a disconnect costs a task, which is not worth it for a short wait.
LONG_WAIT = 0.1


class Wait(Enum):
    """The stages of a view's wait."""

    SHORT = auto()
    LONG = auto()  # the client is watched
    OVER = auto()  # the time limit has passed


class Patience:
    """Times a view, and watches its client, from the view's first wait.

    Args:
        incoming: the request whose client is watched.
        timeout: seconds; None is no limit.
        on_timeout: called once, after `timeout` seconds.
    """

    wait = Wait.SHORT

    def __init__(
        self, incoming: Incoming, timeout: float | None, on_timeout: Callable[[], object]
    ) -> None:
        self._incoming = incoming
        self._timeout = timeout
        self._on_timeout = on_timeout
        loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = loop.call_later(LONG_WAIT, self._on_long_wait)

    def on_wait(self) -> None:
        """Watch the client, as the view waits once more."""
        if self.wait is not Wait.SHORT:
            self._incoming.watch()

    def stop(self) -> None:
        """Stop the timer and the watch."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None  # the timer refers to this object: together they form a cycle

    def _on_long_wait(self) -> None:
        self.wait = Wait.LONG
        self._incoming.watch()
        if self._timeout is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0, self._timeout - LONG_WAIT), self._on_end)

    def _on_end(self) -> None:
        self.wait = Wait.OVER
        self._on_timeout()
