"""uvicorn's server and its supervisor of workers, with an orderly stop."""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import Pipe
from socket import socket
from types import FrameType

import uvicorn
from uvicorn.supervisors import Multiprocess, multiprocess

from ._handshakes import drop_new
from ._protocol import HttpProtocol
from ._readiness import SAME_STOP_SECONDS, end_by
from ._systemd import inherited_sockets, notify

logger = logging.getLogger(__name__)

# Seconds for the responses to requests that are cut off, before uvicorn cancels them.
LAST_WORDS_SECONDS = 1

WATCHDOG_TICKS = 50  # of a tenth of a second each, as uvicorn counts

CAN_DUPLICATE = sys.platform != "win32"  # on Windows a socket is not a file


class Server(uvicorn.Server):
    """uvicorn's server. After a signal it exits with code 0, where uvicorn's ends by the signal.

    Under systemd it listens on the sockets that it is given (sd_listen_fds(3)), and reports when it
    is ready, that its loop is alive, and when it stops (sd_notify(3)).

    Its configuration needs ``http=HttpProtocol``.
    """

    on_systemds_sockets = False

    # Seconds that a TCP handshake that has begun may need to end.
    handshake_seconds = 0.1

    # Seconds that a request may need from the client's connection to its first byte.
    on_its_way_seconds = 0.1

    def run(self, sockets: list[socket] | None = None) -> None:
        """Serve until a signal, on `sockets` if they are given.

        asyncio raises a `SystemExit` of any task out of the loop, which would end the server. Here
        it ends only that task, and is logged.

        Raises:
            SystemExit: the server did not start; the code is `STARTUP_FAILURE`.
        """
        with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
            loop = runner.get_loop()
            serving = loop.create_task(self.serve(sockets))
            while not serving.done():
                try:
                    loop.run_until_complete(serving)
                except (SystemExit, KeyboardInterrupt) as error:
                    if serving.done():  # a start-up that failed
                        raise
                    logger.error("a task raised %r, which would have ended the server", error)  # noqa: TRY400 - asyncio has the traceback

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Stop, without raising the signal again afterwards, as uvicorn does."""
        self.should_exit = True

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Listen: on `sockets`, or on systemd's, or on the host and port of the configuration."""
        if not sockets:
            sockets = inherited_sockets()
            self.on_systemds_sockets = bool(sockets)
            for each in sockets:
                logger.info("Listening on systemd's socket %s", each.getsockname())
        if not sockets and self.config.host == "::":
            # asyncio would listen on IPv6 only; this socket takes IPv4 connections too.
            sockets = [self.config.bind_socket()]
        await super().startup(sockets or None)
        if self.started:
            _tell_systemd("READY=1")

    async def on_tick(self, counter: int) -> bool:
        """Tell systemd that the event loop is alive; it restarts a unit whose messages stop."""
        if counter % WATCHDOG_TICKS == 0:
            _tell_systemd("WATCHDOG=1")
        return await super().on_tick(counter)

    def is_last(self) -> bool:
        """Tell whether no other process will serve on this server's sockets after it stops."""
        return not (self.config.reload or self.on_systemds_sockets)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Accept no more connections, answer the requests on open ones, and close them.

        uvicorn itself closes a connection without a request at once, even if it accepted the
        connection a moment ago and the request is on its way. It also logs a traceback for each
        request that does not end within ``timeout_graceful_shutdown``; see `cut_off`.
        """
        _tell_systemd("STOPPING=1")
        if self.is_last():
            for descriptor in self._descriptors():
                with socket(fileno=descriptor) as listener:
                    drop_new(listener)
            await asyncio.sleep(self.handshake_seconds)
        await self._stop_listening()
        await asyncio.sleep(self.on_its_way_seconds)
        last_call = None
        if (grace := self.config.timeout_graceful_shutdown) is not None:
            last_call = asyncio.get_running_loop().call_later(grace, self.cut_off, grace)
            self.config.timeout_graceful_shutdown = grace + LAST_WORDS_SECONDS
        try:
            await super().shutdown(sockets)
        finally:
            if last_call is not None:
                last_call.cancel()

    def _descriptors(self) -> list[int]:
        """Return a new descriptor of each listening socket. uvloop's sockets lack most methods."""
        sockets = [each for server in self.servers for each in server.sockets]
        return [os.dup(each.fileno()) for each in sockets] if CAN_DUPLICATE else []

    async def _stop_listening(self) -> None:
        """Close the listening sockets, once every connection that the kernel has made is accepted.

        Closing a socket resets the connections that were not yet accepted.
        """
        descriptors = self._descriptors()
        for listener in self.servers:
            listener.close()
        loop = asyncio.get_running_loop()
        for descriptor in descriptors:
            with socket(fileno=descriptor) as last, contextlib.suppress(BlockingIOError):
                last.settimeout(0)
                while True:
                    connection, _ = last.accept()
                    connection.settimeout(0)
                    await loop.connect_accepted_socket(
                        self._make_protocol, connection, ssl=self.config.ssl
                    )

    def _make_protocol(self) -> asyncio.Protocol:
        return HttpProtocol(self.config, self.server_state, self.lifespan.state)

    def cut_off(self, grace: float) -> None:
        """End the requests that have not ended within `grace` seconds.

        A request is answered 503 if its response has not begun. Otherwise its connection is closed.
        """
        tasks = self.server_state.tasks
        if not tasks:
            return
        logger.warning("%d requests did not end within %s s and are cut off", len(tasks), grace)
        for connection in list(self.server_state.connections):
            cycle = connection.answered  # type: ignore[union-attr] # `HttpProtocol` has one
            if cycle is not None and cycle.response_started and not cycle.response_complete:
                cycle.disconnected = True  # so that uvicorn logs no error
                connection.transport.abort()
        for task in list(tasks):
            task.cancel()


def _tell_systemd(state: str) -> None:
    if multiprocessing.parent_process() is None:  # systemd ignores other processes
        notify(state)


class WorkerServer(Server):
    """The server of a worker: it shares its sockets until the supervisor stops all workers."""

    def __init__(self, config: uvicorn.Config, all_stop: Callable[[], bool]) -> None:
        super().__init__(config)
        self.all_stop = all_stop

    def is_last(self) -> bool:
        """Tell whether all workers stop; otherwise this worker stops to be replaced."""
        return self.all_stop()


class Worker(multiprocess.Process):
    """A process that serves with `WorkerServer`."""

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket], all_stop: Callable[[], bool]
    ) -> None:
        self.all_stop = all_stop
        super().__init__(config, sockets)

    @property
    def server(self) -> Server:
        """The server of this process, created at the first use."""
        if self._server is None:
            self._server = WorkerServer(self.config, self.all_stop)
        return self._server  # type: ignore[return-value] # created above


class Supervisor(Multiprocess):
    """uvicorn's parent of several workers. A second signal ends it and its workers at once.

    Args:
        config: says how many workers there are.
        sockets: listened on by all workers, and closed by this process when it stops.
    """

    stopped_at: float | None = None

    def __init__(self, config: uvicorn.Config, sockets: Sequence[socket]) -> None:
        super().__init__(config, list(sockets))
        # No data is ever written. The other end becomes readable when this end of the pipe is
        # closed, by `terminate_all` or by the death of this process.
        for_workers, self.until_stop = Pipe(duplex=False)
        # uvicorn has no option for the class.
        multiprocess.Process = partial(Worker, all_stop=for_workers.poll)  # type: ignore[assignment,misc]
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.on_stop)

    def on_stop(self, number: int, _frame: FrameType | None) -> None:
        """Let the workers finish their requests; on the second signal end them at once."""
        now = time.monotonic()
        if self.stopped_at is None:
            self.stopped_at = now
            self.signal_queue.append(number)
        elif now - self.stopped_at >= SAME_STOP_SECONDS:
            for worker in self.processes:
                worker.process.kill()
                worker.process.join()
            end_by(number)

    def terminate_all(self) -> None:
        """Tell the workers to stop.

        This process closes its listening socket first. If that stayed open, the kernel would accept
        connections after the workers have closed theirs, and reset them in the end.
        """
        for listener in self.sockets:
            listener.close()
        self.until_stop.close()
        super().terminate_all()
