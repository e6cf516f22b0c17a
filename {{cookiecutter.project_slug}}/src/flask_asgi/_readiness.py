"""Says whether this process wants traffic, and turns traffic away before the server stops."""

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

# Signals this close together are one stop that arrived twice, in seconds: systemd signals every
# process of a service, and `uv run` passes on what it gets.
SAME_STOP_SECONDS = 0.25


class State(Enum):
    """What a process is doing."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Readiness:
    """Whether a load balancer should send requests here; `/readyz` answers with it."""

    def __init__(self) -> None:
        """Begin with a process that is starting."""
        self.state = State.STARTING
        self._drains: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def starting(self) -> None:
        """Refuse traffic until `ready` is called."""
        self.state = State.STARTING

    def ready(self) -> None:
        """Ask for traffic, unless the process is already on its way out."""
        if self.state is not State.DRAINING:
            self.state = State.READY

    def draining(self) -> None:
        """Ask for no more traffic; only `starting` takes this back."""
        self.state = State.DRAINING
        for event, loop in list(self._drains.items()):
            loop.call_soon_threadsafe(event.set)  # this may be a signal's handler

    async def until_draining(self) -> None:
        """Wait until this process drains: for a stream that would otherwise hold up the stop."""
        event = asyncio.Event()
        self._drains[event] = asyncio.get_running_loop()
        try:
            if self.state is not State.DRAINING:
                await event.wait()
        finally:
            del self._drains[event]

    def end_connection(self, response: Response) -> Response:
        """Make the client take another connection for its next request, once this process drains.

        A connection that is still kept when the server stops may be closed just as a request is on
        its way, and a proxy must not repeat one that may have had an effect (RFC 9112 section
        9.3.1). HTTP/2 has other means, and forbids the header (RFC 9113 section 8.2.2).
        """
        if self.state is State.DRAINING and request.environ["SERVER_PROTOCOL"].startswith("HTTP/1"):
            response.headers["Connection"] = "close"
        return response


@contextmanager
def drain_on_signal(readiness: Readiness, *, delay: float) -> Iterator[None]:
    """Drain on the first SIGTERM or SIGINT, `delay` seconds before the server is told to stop.

    A load balancer needs that time to see `/readyz` and to look elsewhere; until then the socket
    stays open. A second signal ends the process at once, by that signal.

    SIGHUP is the same as SIGTERM, unless the process was started to ignore it, as `nohup` does. So
    is the death of the process that started this one as a worker.

    It stands in front of the handlers that the server has set, so it works under every command
    that starts the service, and in each of its workers. It needs a running loop. Outside the main
    thread, where Python handles no signals, it does nothing.
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
    # Without its parent nobody would stop this worker, and it would hold the port for ever.
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _is_repeated(number: int, elapsed: float) -> bool:
    # Ctrl+C reaches a worker from the terminal, as SIGINT, and then from its parent, as SIGTERM.
    from_parent = number == signal.SIGTERM and multiprocessing.parent_process() is not None
    return from_parent or elapsed < SAME_STOP_SECONDS


def end_by(number: int) -> None:
    """End this process as the signal does by default."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
