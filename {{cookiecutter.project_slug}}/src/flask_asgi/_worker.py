"""The life of a worker process: the order in which its parts start and stop."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from flask import Flask

from ._background import Background
from ._garbage import tuned_garbage_collector
from ._lifespan import Lifespan
from ._readiness import Readiness


def serving(
    lifespan: Lifespan, background: Background, readiness: Readiness, *, delay: float, grace: float
) -> Callable[[Flask], AbstractAsyncContextManager[None]]:
    """Return a ``lifespan`` for `FlaskToAsgi` that starts and stops these parts in their order.

    The resources are open before `background` accepts work, and until its tasks have ended. From
    now until then the process is not ready.

    Args:
        lifespan: the resources of the application.
        background: its background tasks.
        readiness: is ready while the worker serves.
        delay: the seconds between the signal to stop and the stop; see `drain_on_signal`.
        grace: the seconds that a stop waits for background tasks.
    """
    readiness.starting()

    @asynccontextmanager
    async def worker(app: Flask) -> AsyncIterator[None]:
        async with lifespan(app), background.running(grace):
            with tuned_garbage_collector(), readiness.serving(delay=delay):
                yield

    return worker
