"""The service as a unit of systemd; the tests act as systemd."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_UNIX, SOCK_DGRAM, create_connection, create_server, socket

import pytest

from .serving import PACKAGE, PATIENCE, environment

# The steps of systemd between fork and exec, for descriptor 3: sd_listen_fds(3).
LAUNCHER = f"""
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= dict(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "{PACKAGE}", "--workers", "1"])
"""
REQUEST = b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


@pytest.fixture
def listener() -> Iterator[socket]:
    """Return a socket like that of a socket unit: it stays open when the service ends."""
    with create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def notified(tmp_path: Path) -> Iterator[socket]:
    """Return the socket that receives the service's notifications, in place of systemd's."""
    with socket(AF_UNIX, SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(PATIENCE)
        yield receiver


@contextmanager
def unit(listener: socket, notified: socket, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the service like systemd, and wait until it reports that it is ready."""
    descriptor = listener.fileno()
    process = subprocess.Popen(  # noqa: S603 - the command is ours
        [sys.executable, "-c", LAUNCHER, str(descriptor)],
        cwd=folder,
        env=environment({"NOTIFY_SOCKET": notified.getsockname()}),
        pass_fds=[descriptor],
    )
    try:
        assert notified.recv(100) == b"READY=1"
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def answer(connection: socket) -> bytes:
    """Return the status line of the next response on a connection."""
    with connection.makefile("rb") as response:
        return response.readline()


def test_a_restart_refuses_no_connection(
    listener: socket, notified: socket, tmp_path: Path
) -> None:
    address = listener.getsockname()
    with (
        unit(listener, notified, tmp_path) as first,
        create_connection(address, timeout=PATIENCE) as before,
    ):
        before.sendall(REQUEST)
        assert answer(before) == b"HTTP/1.1 200 OK\r\n"
    assert first.returncode == 0
    while notified.recv(100) != b"STOPPING=1":
        pass

    # The service is stopped now.
    with create_connection(address, timeout=PATIENCE) as between:
        between.sendall(REQUEST)
        with unit(listener, notified, tmp_path) as second:
            assert answer(between) == b"HTTP/1.1 200 OK\r\n"
    assert second.returncode == 0
