"""HTTP/1.1 with clients that ask for another protocol, or disconnect in the middle."""

import asyncio
import re
from collections.abc import Iterator, Sequence

import pytest
from flask_asgi._patience import LONG_WAIT

from tests.serving import Server, serve

from .probes import APPLICATION, event, log_of, serve_application, until_in_flight
from .wire import announced, connect, framed

pytestmark = pytest.mark.anyio

# Upgrades to other protocols

UPGRADES = [
    "Connection: Upgrade\r\nUpgrade: h2c\r\n",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    "Connection: upgrade\r\nUpgrade: anything, at/1 all\r\n",
    "Upgrade: TLS/1.0\r\nConnection: keep-alive, Upgrade\r\n",
    "Connection: Upgrade\r\nConnection: keep-alive\r\nUpgrade: a\r\nUpgrade: b\r\n",
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "Upgrade: without-connection\r\n",
]
SMUGGLED = b"POST /executed HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve_application() as server:
        yield server


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("apart", [True, False], ids=["apart", "together"])
async def test_an_upgrade_request_is_answered_as_an_ordinary_request(
    server: Server, upgrade: str, framing: str, kind: str, *, apart: bool
) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/length/{kind}", "POST", upgrade + announced(len(SMUGGLED), framing))
        if apart:
            await connection.writer.drain()
            await asyncio.sleep(0.01)
        connection.writer.write(framed(SMUGGLED, framing))
        first = await connection.reply()
        connection.send("/livez")
        second = await connection.reply()

    assert (200, str(len(SMUGGLED)).encode()) == (first.status, first.body)
    assert (200, b"alive") == (second.status, second.body)
    assert 0 == await event(server, "executed")


async def test_many_pipelined_upgrade_requests_are_answered(server: Server) -> None:
    number = 1500  # more than Python's calls may be nested
    async with connect(server.url) as connection:
        for _ in range(number):
            connection.send("/ping/async", headers=UPGRADES[0])
        statuses = [(await connection.reply()).status for _ in range(number)]

    assert {200} == set(statuses)


async def test_a_websocket_upgrade_is_answered_as_an_ordinary_get(server: Server) -> None:
    async with connect(server.url) as connection:
        connection.send("/livez", headers=UPGRADES[5])
        connection.send("/livez")

        assert [200, 200] == [(await connection.reply()).status for _ in range(2)]


@pytest.mark.parametrize("flags", [[], ["--http", "h11"]], ids=["httptools", "h11"])
def test_uvicorns_own_command_closes_the_connection_after_an_upgrade_request(
    flags: list[str],
) -> None:
    # With httptools, uvicorn loses the body. This test fails once uvicorn has fixed that.
    upgrade = f"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: {len(SMUGGLED)}\r\n"

    async def ask(url: str) -> tuple[int, bytes]:
        async with connect(url) as connection:
            connection.send("/length/async", "POST", upgrade)
            await connection.writer.drain()
            await asyncio.sleep(0.05)
            connection.writer.write(SMUGGLED)
            reply = await connection.reply()
            return reply.status, reply.body + await connection.reader.read()

    with serve(f"{APPLICATION}:asgi", *flags) as server:
        answer = asyncio.run(ask(server.url))

        assert b"0" == server.get("/event/executed").body
    assert (answer[0] == 400) if not flags else ((200, str(len(SMUGGLED)).encode()) == answer)


async def test_connect_is_refused_and_ends_the_connection(server: Server) -> None:
    async with connect(server.url) as connection:
        connection.writer.write(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n")
        await asyncio.sleep(0.01)
        connection.writer.write(SMUGGLED)
        answer = await connection.reader.read()

    assert re.match(rb"HTTP/1.1 40\d ", answer)
    assert 0 == await event(server, "executed")


# Disconnects


async def reset(server: Server, paths: Sequence[str], after: float) -> None:
    """Send several requests, then abort the connection."""
    async with connect(server.url) as connection:
        for path in paths:
            connection.send(path)
        await connection.writer.drain()
        await asyncio.sleep(after)
        connection.writer.transport.abort()


async def test_a_disconnect_after_a_pipelined_request_is_noticed(server: Server) -> None:
    async with connect(server.url) as connection:
        connection.send("/hang")
        await until_in_flight(server, 1)
        await asyncio.sleep(2 * LONG_WAIT)  # the engine watches for the client's disconnect
        connection.send("/ping/sync")
        await connection.writer.drain()
        await asyncio.sleep(0.1)
        connection.writer.transport.abort()

    await until_in_flight(server, 0)


async def test_aborted_connections_cause_no_traceback(server: Server) -> None:
    before = (await log_of(server)).count("Traceback")
    paths = ["/hang", "/ping/sync", "/parts/async?number=3", "/parts/sync?number=3", "/endless"]
    for first in range(len(paths)):
        rotated = (paths[first:] + paths[:first]) * 4
        lasts = range(1, 20, 3)
        await asyncio.gather(*(reset(server, rotated[:last], last / 4000) for last in lasts))

    await until_in_flight(server, 0)  # all requests are cancelled, including those in the queue
    assert before == (await log_of(server)).count("Traceback")
