"""Writes log lines to stderr in a thread, so a reader that stops reading blocks no request."""

import contextlib
import logging
import multiprocessing
import os
import select
import sys
import threading
import weakref
from collections.abc import Iterator
from multiprocessing import util
from queue import Empty, SimpleQueue
from typing import TextIO, TypeAlias

# Characters that may wait to be written. Further lines are dropped and counted.
QUEUE_CHARACTERS = 4 * 2**20

# Seconds between two writes. The first line after a silence is written at once. Under load the
# lines of this time are written together: waking a thread for each line would cost far more.
PAUSE_SECONDS = 0.02

# Seconds that a flush may take, for example at the end of the process.
FLUSH_SECONDS = 2.0

# Bytes that a write to a pipe keeps in one piece, however many processes write to it: pipe(7). 512
# is the least that POSIX allows.
ATOMIC_BYTES: int = getattr(select, "PIPE_BUF", 512)

# An item of the queue: a line, the event of a flush that waits, or None to end the thread.
_Item: TypeAlias = "str | threading.Event | None"

_writers: "weakref.WeakSet[StderrWriter]" = weakref.WeakSet()


def dropped_lines() -> int:
    """Return how many log lines this process could not write. A counter for metrics."""
    return sum(writer.dropped for writer in _writers)


def flush_lines() -> None:
    """Write what all writers of this process have queued; see `StderrWriter.flush`.

    The interpreter does this when it exits. Call it in a process that ends by a signal or by
    `os._exit`.
    """
    for writer in list(_writers):
        writer.flush()


class StderrWriter(logging.Handler):
    """A log handler that never waits for stderr.

    A line is formatted where it is logged, and put into a queue of `size` characters. A thread
    writes the lines, in their order and many at once, to the file of the current `sys.stderr`.
    Lines of several processes do not mix: no write is longer than a pipe takes in one piece, unless
    a single line is longer.

    A line that does not fit into the queue, or that cannot be written because of a full disk or a
    closed pipe, is dropped. When lines can be written again, a further line counts those missing.

    If `sys.stderr` has no file, as in tests, or is the console of Windows, lines are written to it
    at once.

    A fork leaves the queue to the parent. The child starts with an empty queue.

    Args:
        size: how many characters may wait to be written.
    """

    def __init__(self, *, size: int = QUEUE_CHARACTERS) -> None:
        super().__init__()
        self._size = size
        self._start_over()
        _writers.add(self)

    def _start_over(self) -> None:
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._unstarted = [None]  # the caller that pops the item starts the thread: `_start_thread`
        self._hurry = threading.Event()  # ends the pause between two writes
        self._is_stuck = False  # a flush took too long, and nothing was written since
        # Each of these has one writer: `emit`, which holds the handler's lock, or the thread. So
        # reading the difference of two needs no lock.
        self._queued = 0  # characters
        self._taken = 0  # characters that were queued, and were written or lost
        self._refused = 0  # lines
        self._lost = 0  # lines
        self._told = 0  # dropped lines that a written line has counted

    @property
    def dropped(self) -> int:
        """How many lines were dropped."""
        return self._refused + self._lost

    def emit(self, record: logging.LogRecord) -> None:
        """Format `record` and queue the line."""
        try:
            self._put(f"{self.format(record)}\n")
        except Exception:  # noqa: BLE001 - whatever an object that is logged does
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Log in one line which record cannot be formatted. logging itself prints a traceback."""
        where = f"{record.name}, {record.pathname}:{record.lineno}"
        message = f"A log line cannot be formatted ({where}): {sys.exc_info()[1]!r}"
        try:
            self._put(self._own_line(logging.ERROR, message))
        except Exception:  # noqa: BLE001 - the formatter itself fails
            self._refused += 1

    def flush(self) -> None:
        """Wait until every queued line is written, for at most two seconds.

        If the lines of an earlier flush still wait, it returns at once.
        """
        thread = self._thread
        if thread is None or not thread.is_alive() or self._is_stuck:
            return
        done = threading.Event()
        self._queue.put(done)
        self._hurry.set()
        if not done.wait(FLUSH_SECONDS):
            self._is_stuck = True

    def close(self) -> None:
        """Flush, and end the thread. A line that is logged later starts another one."""
        self.flush()
        with self.lock or contextlib.nullcontext():
            thread, self._thread = self._thread, None
            self._unstarted = [None]
            if thread is not None:
                self._queue.put(None)
                self._hurry.set()
                self._queue = SimpleQueue()
        if thread is not None and not self._is_stuck:
            thread.join(FLUSH_SECONDS)
        super().close()

    def _put(self, line: str) -> None:
        if _descriptor(sys.stderr) is None:
            if sys.stderr is not None:  # it is None under pythonw
                sys.stderr.write(line)
                sys.stderr.flush()
            return
        waiting = self._queued - self._taken
        if waiting and waiting + len(line) > self._size:
            self._refused += 1
            return
        self._queued += len(line)
        self._queue.put(line)
        if self._unstarted:
            self._start_thread()

    def _start_thread(self) -> None:
        # The handler of a signal may log, and interrupt this method. Two threads would mix lines.
        try:
            self._unstarted.pop()
        except IndexError:
            return
        thread = threading.Thread(
            target=self._write_lines, args=(self._queue,), name="log writer", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # too many threads, or the interpreter is ending
            self._unstarted.append(None)
            lines = _take(self._queue, wait=False)
            if self._is_stuck:
                self._refused += len(lines)
            else:
                self._write(lines, 0)
            return
        self._thread = thread
        if multiprocessing.parent_process() is not None:
            # A process that multiprocessing has forked ends without `atexit`.
            util.Finalize(None, flush_lines, exitpriority=0)

    def _write_lines(self, queue: "SimpleQueue[_Item]") -> None:
        """Write queued lines until None is taken from the queue: the thread's function."""
        works = True
        while True:
            # Counted before the queue is emptied: its lines were logged before most dropped lines.
            untold = self.dropped - self._told
            items = _take(queue, wait=not (works and untold))
            works = self._write(items, untold)
            for each in items:
                if isinstance(each, threading.Event):
                    each.set()
            if None in items:
                return
            self._hurry.wait(PAUSE_SECONDS)
            self._hurry.clear()

    def _write(self, items: list[_Item], untold: int) -> bool:
        """Write lines, and a line that counts those missing; return whether it worked."""
        works = True
        lines = [each for each in items if isinstance(each, str)]
        for chunk in _chunks(lines):
            works = _write_to_stderr("".join(chunk))
            if works:
                self._is_stuck = False
            else:
                self._lost += len(chunk)
            self._taken += sum(map(len, chunk))
        if untold and works:
            message = f"{untold} log lines were dropped: stderr did not take them"
            if works := _write_to_stderr(self._own_line(logging.WARNING, message)):
                self._told += untold
        return works

    def _own_line(self, level: int, message: str) -> str:
        record = logging.LogRecord(__name__, level, __file__, 0, message, None, None)
        return f"{self.format(record)}\n"


def _take(queue: "SimpleQueue[_Item]", *, wait: bool) -> list[_Item]:
    """Return all that is queued; if `wait`, at least one item."""
    items = [queue.get()] if wait else []
    with contextlib.suppress(Empty):
        while True:
            items.append(queue.get_nowait())
    return items


def _chunks(lines: list[str]) -> Iterator[list[str]]:
    """Yield the lines in groups, each as long as a pipe takes in one piece."""
    chunk: list[str] = []
    left = ATOMIC_BYTES
    for line in lines:
        size = len(line) if line.isascii() else len(line.encode(errors="surrogatepass"))
        if chunk and size > left:
            yield chunk
            chunk, left = [], ATOMIC_BYTES
        chunk.append(line)
        left -= size
    if chunk:
        yield chunk


def _write_to_stderr(text: str) -> bool:
    """Write to the file itself; return whether it worked.

    A thread that waits in the stream would hold its lock. The interpreter, which flushes the stream
    at its exit, would then wait or abort.
    """
    stream = sys.stderr
    try:
        if (descriptor := _descriptor(stream)) is None:
            stream.write(text)
            return True
        data = memoryview(text.encode(stream.encoding or "utf-8", "backslashreplace"))
        while data:
            try:
                data = data[os.write(descriptor, data) :]
            except BlockingIOError:  # another process made the shared pipe non-blocking
                select.select([], [descriptor], [])
    except (AttributeError, OSError, ValueError):  # no stream, a full disk, a closed file
        return False
    return True


def _descriptor(stream: TextIO | None) -> int | None:
    """Return the number of the file behind a stream; None if it has none, or must not be used."""
    if sys.platform == "win32" and stream is not None and stream.isatty():
        return None  # the console has a different encoding
    try:
        return stream.fileno()  # type: ignore[union-attr] # None has no such attribute
    except (AttributeError, OSError, ValueError):
        return None


def _after_fork() -> None:
    for writer in list(_writers):
        writer._start_over()  # noqa: SLF001 - of this module


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork)
