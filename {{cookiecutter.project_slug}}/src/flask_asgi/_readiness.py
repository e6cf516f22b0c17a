"""Readiness of this process for traffic, and the drain of traffic before the server stops."""

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from multiprocessing.process import BaseProcess
from types import FrameType

from flask import Response, request

from ._marks import on_loop
from ._stderr_writer import flush_lines

# Seconds. Two signals this close together count as one: systemd signals every process of a unit,
# and `uv run` passes on the signals that it receives.
SAME_STOP_SECONDS = 0.25


class State(Enum):
    """The phase of a process that serves."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


_DRAINING = State.DRAINING  # used for every response; a lookup in an `Enum` takes longer


class Readiness:
    """Whether a load balancer should send requests to this process.

    A health check returns 503 unless `state` is `State.READY`.
    """

    def __init__(self) -> None:
        """Begin in `State.STARTING`."""
        self.state = State.STARTING
        self._drains: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def starting(self) -> None:
        """Refuse traffic until `ready` is called."""
        self.state = State.STARTING

    def ready(self) -> None:
        """Ask for traffic, unless the process is draining."""
        if self.state is not State.DRAINING:
            self.state = State.READY

    def draining(self) -> None:
        """Refuse new traffic; only `starting` reverses this."""
        self.state = State.DRAINING
        for event, loop in list(self._drains.items()):
            loop.call_soon_threadsafe(event.set)  # this may be a signal's handler

    async def until_draining(self) -> None:
        """Wait until this process drains, so that a long stream ends before it delays a stop."""
        event = asyncio.Event()
        self._drains[event] = asyncio.get_running_loop()
        try:
            if self.state is not State.DRAINING:
                await event.wait()
        finally:
            del self._drains[event]

    @on_loop
    def end_connection(self, response: Response) -> Response:
        """Add `Connection: close` to `response` once this process drains; for `after_request`.

        The client then opens another connection for its next request. If it kept this one, the
        server might close it while a request is on its way, and a proxy must not repeat a request
        that may have had an effect (RFC 9112 section 9.3.1). HTTP/2 forbids the header (RFC 9113
        section 8.2.2).
        """
        if self.state is _DRAINING and request.environ["SERVER_PROTOCOL"].startswith("HTTP/1"):
            response.headers["Connection"] = "close"
        return response

    @contextmanager
    def serving(self, *, delay: float) -> Iterator[None]:
        """Be ready within the block. Drain at its end, or earlier by `drain_on_signal`."""
        with drain_on_signal(self, delay=delay):
            self.ready()
            try:
                yield
            finally:
                self.draining()


@contextmanager
def drain_on_signal(readiness: Readiness, *, delay: float) -> Iterator[None]:
    """Drain on the first SIGTERM or SIGINT, `delay` seconds before the server is told to stop.

    Enter it in the lifespan. It wraps the signal handlers of the server, so it works with any
    server and in each of its workers. At the end of the block they are restored.

    During the `delay` a load balancer notices that this process is no longer ready; the socket
    stays open until then. A second signal ends the process at once, by that signal.

    SIGHUP has the same effect as SIGTERM, unless the process was started to ignore it, as by
    `nohup`. In a worker process the end of its parent has the same effect, too.

    Outside of the main thread, where Python handles no signals, it does nothing.

    Raises:
        RuntimeError: no event loop is running.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    servers = {number: signal.getsignal(number) for number in _stops()}
    drained_at: float | None = None

    def stop_server(number: int) -> None:
        handler = servers[signal.SIGINT if number == signal.SIGINT else signal.SIGTERM]
        if callable(handler):
            handler(number, None)
        else:
            end_by(number)

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal drained_at
        if drained_at is None:
            drained_at = time.monotonic()
            readiness.draining()
            loop.call_soon_threadsafe(loop.call_later, delay, stop_server, number)
        elif not _is_repeated(number, time.monotonic() - drained_at):
            end_by(number)

    for number in servers:
        signal.signal(number, on_signal)
    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_end_with, args=(parent,), name="parent", daemon=True).start()
    try:
        yield
    finally:
        for number, handler in servers.items():
            signal.signal(number, handler)


def _stops() -> list[signal.Signals]:
    stops = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        stops.append(signal.SIGHUP)
    return stops


def _end_with(parent: BaseProcess) -> None:
    # A worker without a parent would never be stopped, and would keep the port.
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _is_repeated(number: int, elapsed: float) -> bool:
    # Ctrl+C reaches a worker as SIGINT from the terminal, and then as SIGTERM from its parent.
    from_parent = number == signal.SIGTERM and multiprocessing.parent_process() is not None
    return from_parent or elapsed < SAME_STOP_SECONDS


def end_by(number: int) -> None:
    """End this process as the default action of the signal `number` does."""
    flush_lines()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
