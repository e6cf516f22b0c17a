"""The server as a unit of systemd; the tests act as systemd."""

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from socket import AF_UNIX, SOCK_DGRAM, create_connection, socket

import pytest
from flask_asgi._systemd import inherited_sockets, notify

from tests.serving import PATIENCE, environment, serve, wait_until
from tests.units import Unit

from .probes import APPLICATION

REQUEST = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    """Return the server as a unit that has not been started; its socket is open all the time."""
    command = (sys.executable, "-m", APPLICATION)
    with closing(Unit(tmp_path / "unit", environment(), *command)) as unit:
        yield unit


def answer(connection: socket) -> bytes:
    """Return the status line of the response that comes on a connection."""
    with connection.makefile("rb") as response:
        return response.readline()


def test_a_restart_refuses_no_connection(unit: Unit) -> None:
    address = unit.listener.getsockname()
    unit.start()
    with create_connection(address, timeout=PATIENCE) as before:
        before.sendall(REQUEST)
        assert b"HTTP/1.1 200 OK\r\n" == answer(before)
    unit.stop()

    # No server runs now.
    with create_connection(address, timeout=PATIENCE) as between:
        between.sendall(REQUEST)
        unit.start()
        assert b"HTTP/1.1 200 OK\r\n" == answer(between)
    unit.stop()


def test_systemd_is_notified_of_the_start_the_watchdog_and_the_stop(unit: Unit) -> None:
    unit.start()  # returns at READY=1
    assert b"WATCHDOG=1" == unit.notified.recv(100)
    assert b"WATCHDOG=1" == unit.notified.recv(100)
    unit.stop()

    said = unit.notified.recv(100)
    while said == b"WATCHDOG=1":
        said = unit.notified.recv(100)
    assert b"STOPPING=1" == said


def test_without_systemd_the_server_opens_its_own_socket() -> None:
    with serve(APPLICATION) as server:
        assert 200 == server.get("/livez").status
        server.process.terminate()

        wait_until(lambda: server.process.poll() == 0)


def test_sockets_for_another_process_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")

    assert [] == inherited_sockets()


def test_an_abstract_address_is_notified(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket(AF_UNIX, SOCK_DGRAM) as receiver:
        receiver.bind("")  # the kernel chooses an abstract address
        receiver.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + receiver.getsockname()[1:].decode())

        notify("READY=1")

        assert b"READY=1" == receiver.recv(100)
