"""The service as a unit of systemd, whose part the tests play."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_UNIX, SOCK_DGRAM, create_server, socket

import pytest
from flask_asgi._systemd import inherited_sockets, notify

from ..serving import PACKAGE, PATIENCE, environment, serve, wait_until

# What systemd does between fork and exec. The descriptor has this number: sd_listen_fds(3).
LAUNCHER = f"""
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= dict(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "{PACKAGE}", "--workers", "1"])
"""


@pytest.fixture
def listener() -> Iterator[socket]:
    """Return a socket as a socket unit holds it: it stays open whatever becomes of the service."""
    with create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def notified(tmp_path: Path) -> Iterator[socket]:
    """Return where systemd would receive what its units say."""
    with socket(AF_UNIX, SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(PATIENCE)
        yield receiver


@contextmanager
def unit(listener: socket, notified: socket, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the service as systemd does, and go on when it says that it is ready."""
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


def test_systemd_hears_of_the_start_the_event_loop_and_the_stop(
    listener: socket, notified: socket, tmp_path: Path
) -> None:
    with unit(listener, notified, tmp_path) as process:
        assert notified.recv(100) == b"WATCHDOG=1"
        assert notified.recv(100) == b"WATCHDOG=1"
        process.terminate()
        assert notified.recv(100) == b"STOPPING=1"

        assert process.wait(PATIENCE) == 0


def test_without_systemd_it_serves_where_it_is_told() -> None:
    with serve() as server:
        assert server.get("/readyz")[0] == 200
        server.process.terminate()

        wait_until(lambda: server.process.poll() == 0)


def test_sockets_for_another_process_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")

    assert inherited_sockets() == []


def test_an_address_without_a_file_is_notified_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket(AF_UNIX, SOCK_DGRAM) as receiver:
        receiver.bind("")  # the kernel chooses an abstract address
        receiver.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + receiver.getsockname()[1:].decode())

        notify("READY=1")

        assert receiver.recv(100) == b"READY=1"
