"""Background tasks: they continue after the response has been sent, and a stop waits for them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

from ._observer import NOBODY, ServerObserver, TaskOutcome
from ._tasks import contained

logger = logging.getLogger(__name__)

# Seconds that work may take to end once it is cancelled.
LAST_WORDS_SECONDS = 1


class Background:
    """The background tasks of a process.

    asyncio keeps only weak references to tasks, so a task without another reference can vanish
    before it has ended. This keeps references, logs errors, and lets the lifespan wait for tasks.

    `trace` may be set to a function that takes the name of each piece of work, and returns a block
    in which it runs: see `background_spans`.

    Args:
        on_start: called before each piece of work begins, in a copy of the context of the code that
            starts it.
        observer: is told when tasks begin and end, for metrics; it can be set later.
    """

    def __init__(
        self,
        on_start: Callable[[], object] = lambda: None,
        observer: ServerObserver = NOBODY,
    ) -> None:
        self._on_start = on_start
        self.observer = observer
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.trace: Callable[[str], AbstractContextManager[object]] | None = None

    def open(self) -> None:
        """Accept work for the running event loop, the server's. Call this in the lifespan.

        Raises:
            RuntimeError: no event loop is running.
        """
        self._loop = asyncio.get_running_loop()

    @asynccontextmanager
    async def running(self, grace: float) -> AsyncIterator[None]:
        """Accept work within the block: `open` it, and `close` it with these `grace` seconds."""
        self.open()
        try:
            yield
        finally:
            await self.close(grace)

    def start(self, work: Coroutine[Any, Any, object]) -> None:
        """Start `work` on the server's loop, from an async or a sync view, and return at once.

        An error of `work` is logged.

        Raises:
            RuntimeError: no ASGI server is running. Under WSGI a loop ends with its request.
        """
        if self._loop is None:
            work.close()
            message = "background work needs an ASGI server; here, await it instead"
            raise RuntimeError(message)
        self._loop.call_soon_threadsafe(self._create_task, work)

    async def close(self, grace: float) -> None:
        """Accept no more work. Wait up to `grace` seconds for the tasks, then cancel the rest."""
        self._loop = None
        await asyncio.sleep(0)  # lets work that was just started become a task
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=grace)
        for task in late:
            logger.warning("background work did not end within %g s: %s", grace, task.get_name())
            task.cancel()
        # Not longer: work that ignores its cancellation must not keep the server from stopping.
        if late:
            await asyncio.wait(late, timeout=LAST_WORDS_SECONDS)

    def _create_task(self, work: Coroutine[Any, Any, object]) -> None:
        self._on_start()
        name = getattr(work, "__qualname__", None)
        if self.trace is not None:
            work = _inside(self.trace(name or "background"), work)
        task = asyncio.get_running_loop().create_task(contained(work), name=name)
        self._tasks.add(task)
        self.observer.task_began()
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("background work failed", exc_info=error)
        outcome: TaskOutcome = "cancelled" if task.cancelled() else "error" if error else "ok"
        self.observer.task_ended(outcome)


async def _inside(
    block: AbstractContextManager[object], work: Coroutine[Any, Any, object]
) -> object:
    with block:
        return await work
