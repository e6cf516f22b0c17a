"""Tunes Python's cyclic garbage collector for a server with many requests in flight."""

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

# The collector looks at young objects when the container objects created exceed those freed by this
# number. Python's default is 700 (3.11 to 3.13), which about ten requests in flight reach, although
# nearly all objects of a request are freed without the collector when it ends.
YOUNG_OBJECTS = 50_000

# The collector also runs when the process has grown by both of these since its last run: a few
# cycles can hold large bodies. The share keeps the collector from running often in a large process.
GROWTH_BYTES = 32 * 1024 * 1024
GROWTH_SHARE = 0.25
LOOK_SECONDS = 0.25


@contextmanager
def tuned_garbage_collector() -> Iterator[None]:
    """Let the garbage collector run seldom until the block ends; enter it at the end of start-up.

    Collections skip the objects that exist at the start (`gc.freeze`): a full collection of them
    would stop the event loop for about 15 ms. The collector runs after `YOUNG_OBJECTS` new
    container objects, and on Linux also when the memory of the process has grown by `GROWTH_BYTES`
    and by `GROWTH_SHARE`. At the end of the block Python's previous settings are restored.

    The settings apply to the whole process, not to a thread.

    Raises:
        RuntimeError: no event loop is running in this thread (on Linux, where a timer of the loop
            looks at the memory).
    """
    with ExitStack() as stack:
        stack.enter_context(_collecting_seldom())
        stack.enter_context(_collecting_as_memory_grows())
        yield


@contextmanager
def _collecting_seldom() -> Iterator[None]:
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


@contextmanager
def _collecting_as_memory_grows() -> Iterator[None]:
    if sys.platform != "linux":  # elsewhere no file says how much memory a process has
        yield
        return
    with ExitStack() as stack:
        file = os.open("/proc/self/statm", os.O_RDONLY)
        stack.callback(os.close, file)
        page = os.sysconf("SC_PAGESIZE")
        # proc_pid_statm(5): the second field is the number of resident pages.
        watch = MemoryWatch(lambda: int(os.pread(file, 128, 0).split()[1]) * page)
        stack.callback(watch.stop)
        yield


class MemoryWatch:
    """Checks the memory of the process every `LOOK_SECONDS`, and collects when it has grown.

    Args:
        resident: returns the resident memory in bytes.
        collect: runs the garbage collector.
    """

    def __init__(
        self, resident: Callable[[], int], collect: Callable[[], object] = gc.collect
    ) -> None:
        self._resident = resident
        self._collect = collect
        self._after_collection = resident()
        self._look_again()

    def stop(self) -> None:
        """Stop looking."""
        self._timer.cancel()

    def look(self) -> None:
        """Collect, if the process has grown enough since the last collection."""
        resident = self._resident()
        enough = max(GROWTH_BYTES, self._after_collection * GROWTH_SHARE)
        if resident - self._after_collection >= enough:
            self._collect()
            self._after_collection = self._resident()
        else:  # memory that was given back must not hide new growth
            self._after_collection = min(self._after_collection, resident)
        self._look_again()

    def _look_again(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LOOK_SECONDS, self.look)
