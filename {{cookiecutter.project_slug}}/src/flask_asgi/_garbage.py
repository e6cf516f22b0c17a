"""When Python's collector of cyclic garbage runs, set for a server with many requests in flight."""

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

# How many more container objects have to be made than freed before the collector looks at the
# young ones. By default it is 700, some ten requests in flight, although nearly all that a request
# makes is freed without the collector when the request ends.
YOUNG_OBJECTS = 50_000

# The collector also runs when the process has grown by both of these since it ran last: a few
# cycles can hold large bodies. A share, so that a process that needs much is not searched often.
GROWTH_BYTES = 32 * 1024 * 1024
GROWTH_SHARE = 0.25
LOOK_SECONDS = 0.25


def spare_requests() -> None:
    """Let collections come seldom, and leave out all that exists now; for the end of start-up.

    What start-up has made stays for good. Frozen, it is no part of the full collections, each of
    which would stop the loop for some 15 ms; 3 ms are left.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])


@contextmanager
def collecting_as_memory_grows() -> Iterator[None]:
    """Collect when the memory of the process has grown, until the block ends.

    It needs a running loop, and Linux: elsewhere no file says how much memory a process has.
    """
    if sys.platform != "linux":
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
    """Looks at the memory of the process now and then, and collects when it has grown.

    Args:
        resident: returns the resident memory in bytes.
        collect: frees what only the collector can free.
    """

    def __init__(
        self, resident: Callable[[], int], collect: Callable[[], object] = gc.collect
    ) -> None:
        self._resident = resident
        self._collect = collect
        self._after_collection = resident()
        self._look_again()

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def look(self) -> None:
        """Collect, if the process has grown enough since the last time."""
        resident = self._resident()
        enough = max(GROWTH_BYTES, self._after_collection * GROWTH_SHARE)
        if resident - self._after_collection >= enough:
            self._collect()
            self._after_collection = self._resident()
        else:  # what was given back must not hide new growth
            self._after_collection = min(self._after_collection, resident)
        self._look_again()

    def _look_again(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LOOK_SECONDS, self.look)
