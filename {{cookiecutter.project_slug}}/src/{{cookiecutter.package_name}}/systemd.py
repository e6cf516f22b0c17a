"""Serves the service as a unit of systemd: on its socket, and saying how things stand.

Without systemd around it, it serves as `serve.py` does, with one worker.
"""

import logging
import os
import sys
from socket import AF_UNIX, SOCK_DGRAM, socket

from . import serve
from .server import Server as PlainServer

logger = logging.getLogger(__name__)

FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)
WATCHDOG_TICKS = 50  # of a tenth of a second each, as uvicorn counts


def inherited_sockets() -> list[socket]:
    """Return the sockets that systemd listens on for this process: sd_listen_fds(3).

    Each has the address family that it was made with, which uvicorn's `fd` would not keep.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    last = FIRST_DESCRIPTOR + int(os.environ["LISTEN_FDS"])
    sockets = [socket(fileno=number) for number in range(FIRST_DESCRIPTOR, last)]
    for each in sockets:
        each.set_inheritable(False)
    return sockets


def notify(state: str) -> None:
    """Send `state` to systemd, if it started this process and wants to know: sd_notify(3)."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket(AF_UNIX, SOCK_DGRAM) as sender:
            # "@" stands for the null byte that an abstract address begins with.
            sender.sendto(state.encode(), address.replace("@", "\0", 1))


class Server(PlainServer):
    """A server that tells systemd when it is ready, that its loop turns, and when it stops."""

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Listen on systemd's sockets, if there are any, and say that requests are welcome."""
        inherited = inherited_sockets()
        await super().startup(sockets=inherited or sockets)
        for each in inherited:
            logger.info("Listening on systemd's socket %s", each.getsockname())
        if self.started:
            notify("READY=1")

    async def on_tick(self, counter: int) -> bool:
        """Say now and then that the event loop turns; systemd restarts a unit that does not."""
        if counter % WATCHDOG_TICKS == 0:
            notify("WATCHDOG=1")
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Say that this is the end, and answer what is in flight."""
        notify("STOPPING=1")
        await super().shutdown(sockets=sockets)


if __name__ == "__main__":
    serve.main([*sys.argv[1:], "--workers", "1"], Server)
