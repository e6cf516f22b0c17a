"""Closing a socket resets no connection, and a shared socket keeps accepting."""

import asyncio
import errno
import sys
from collections.abc import Callable
from select import select
from socket import AF_INET, AF_INET6, SO_ERROR, SOL_SOCKET, create_connection, create_server, socket
from typing import Any

import pytest
import uvicorn
from flask_asgi import _server as server_module
from flask_asgi._handshakes import drop_new
from flask_asgi._protocol import HttpProtocol
from flask_asgi._server import Server, WorkerServer

from tests.serving import PATIENCE

linux = pytest.mark.skipif(sys.platform != "linux", reason="the filters are Linux's")


def begin(client: socket, address: Any) -> None:
    """Send the SYN of a connection without waiting for the outcome."""
    client.settimeout(0)
    assert client.connect_ex(address) in {0, errno.EINPROGRESS}


def outcome(client: socket) -> int:
    """Return the error that a connection ended in, as soon as the kernel knows."""
    assert select([], [client], [], PATIENCE)[1], "the connection has no outcome"
    return client.getsockopt(SOL_SOCKET, SO_ERROR)


@linux
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_closed_socket_refuses_new_connections_and_keeps_older_connections(
    address: str,
) -> None:
    try:
        listener = create_server((address, 0), family=AF_INET6 if ":" in address else AF_INET)
    except OSError:
        pytest.skip(f"this machine has no {address}")
    with (
        listener,
        create_connection(listener.getsockname()[:2]) as before,
        socket(listener.family) as after,
    ):
        drop_new(listener)
        begin(after, listener.getsockname())
        accepted, _ = listener.accept()
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()
        listener.close()

        assert outcome(after) == errno.ECONNREFUSED
        with accepted:
            accepted.sendall(b"kept")
            assert before.recv(10) == b"kept"


def test_a_kernel_without_filters_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Without(socket):
        def setsockopt(self, *_: object) -> None:
            raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    with Without() as listener:
        drop_new(listener)
        monkeypatch.setattr(sys, "platform", "darwin")
        drop_new(listener)


# The servers

Make = Callable[[uvicorn.Config], Server]


async def application(_scope: object, _receive: object, _send: object) -> None:
    """Never answer; the tests send no request."""


def serve_and_stop(make: Make, sockets: list[socket] | None, *, reload: bool = False) -> None:
    async def stop() -> None:
        server = make(config)
        serving = asyncio.create_task(server.serve(sockets))
        while not server.started:  # noqa: ASYNC110 - an attribute of uvicorn's
            await asyncio.sleep(0)
        server.should_exit = True
        await serving

    config = uvicorn.Config(
        application,
        host="127.0.0.1",
        port=0,
        lifespan="off",
        http=HttpProtocol,
        log_config=None,
        reload=reload,
    )
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(stop())


def last_worker(config: uvicorn.Config) -> Server:
    return WorkerServer(config, all_stop=lambda: True)


def replaced_worker(config: uvicorn.Config) -> Server:
    return WorkerServer(config, all_stop=lambda: False)


@linux
@pytest.mark.parametrize("whose", ["its own", "bound for it"])
@pytest.mark.parametrize("make", [Server, last_worker])
def test_a_connection_that_begins_after_the_last_accept_is_refused_and_not_reset(
    make: Make, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(socket):
        """Sees a connection begin between the last `accept` and `close`."""

        def accept(self) -> tuple[socket, Any]:
            try:
                return super().accept()
            except BlockingIOError:
                begin(late, self.getsockname())
                raise

    monkeypatch.setattr(server_module, "socket", Late)
    with socket() as late:
        serve_and_stop(make, None if whose == "its own" else [create_server(("127.0.0.1", 0))])

        assert outcome(late) == errno.ECONNREFUSED


@pytest.mark.parametrize(
    ("make", "reload"),
    [(Server, True), (replaced_worker, False)],
    ids=["the parent of --reload", "other workers"],
)
def test_a_shared_socket_still_takes_connections(make: Make, *, reload: bool) -> None:
    with create_server(("127.0.0.1", 0)) as listener:
        serve_and_stop(make, [listener.dup()], reload=reload)

        with create_connection(listener.getsockname(), timeout=PATIENCE):
            listener.settimeout(PATIENCE)
            listener.accept()[0].close()
