"""systemd's socket activation and its notifications."""

import os
import socket
import sys

FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)


def inherited_sockets() -> list[socket.socket]:
    """Return the sockets that systemd passed to this process, possibly none: sd_listen_fds(3).

    Each keeps the address family that it was created with; uvicorn's option `fd` would lose it.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    last = FIRST_DESCRIPTOR + int(os.environ["LISTEN_FDS"])
    sockets = [socket.socket(fileno=number) for number in range(FIRST_DESCRIPTOR, last)]
    for each in sockets:
        each.set_inheritable(False)
    return sockets


def notify(state: str) -> None:
    """Send `state`, such as ``READY=1``, to systemd if it asks for notifications: sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if sys.platform != "win32" and address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            # "@" stands for the null byte that an abstract address begins with.
            sender.sendto(state.encode(), address.replace("@", "\0", 1))
