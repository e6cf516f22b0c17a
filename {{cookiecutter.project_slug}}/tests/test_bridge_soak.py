"""Many requests at once and in any order: nothing is mixed up and nothing is left behind."""

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from .serving import Server, serve
from .wire import Connection, Reply, connect, get

pytestmark = pytest.mark.anyio

ABORTED = 1000
AT_ONCE = 100
KINDS = ("async", "sync", "async-stream", "sync-stream")
needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("tests.http_app:asgi") as server:
        yield server


async def reach(server: Server, name: str, count: int) -> None:
    """Wait until the event has happened so often."""
    async with asyncio.timeout(10):
        while int((await get(server.url, f"/event/{name}")).body) < count:  # noqa: ASYNC110 - remote
            await asyncio.sleep(0.01)


# Clients that go away


async def hang_up(server: Server, already: int, clients: int = AT_ONCE) -> float:
    """Begin requests, leave all of them at once, and return how long their views lived on."""
    async with asyncio.TaskGroup() as group:
        opening = [group.create_task(begin(server, number)) for number in range(clients)]
    await reach(server, "began", already + clients)
    left_at = asyncio.get_running_loop().time()
    for task in opening:
        task.result().close()
    await reach(server, "left", already + clients)
    return asyncio.get_running_loop().time() - left_at


async def begin(server: Server, number: int) -> asyncio.StreamWriter:
    _, port = server.url.rsplit(":", 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    # Every other request has a body, which the view does not read.
    request = ("/hang?note=hang", "POST", "", b"unread") if number % 2 else ("/hang?note=hang",)
    Connection(reader, writer).send(*request)
    return writer


@needs_proc
async def test_clients_that_go_away_leave_nothing_behind(server: Server) -> None:
    slowest = await hang_up(server, already=0)
    before = json.loads((await get(server.url, "/held")).body)
    for already in range(AT_ONCE, ABORTED + AT_ONCE, AT_ONCE):
        slowest = max(slowest, await hang_up(server, already))
    await reach(server, "hang-torn-down", ABORTED + AT_ONCE)
    after = json.loads((await get(server.url, "/held")).body)

    assert slowest < 1
    for what in ("tasks", "files", "greenlets", "threads"):
        assert after[what] <= before[what] + 2, f"{what}: {before[what]}, then {after[what]}"
    assert after["resident"] - before["resident"] < 6 * 1024  # 4,000 abort to the same 4 MiB
    assert str(ABORTED + AT_ONCE).encode() == (await get(server.url, "/event/after-request")).body


# Clients that share a server


async def test_no_request_sees_anything_of_another(server: Server) -> None:
    dice = random.Random(3)  # noqa: S311 - reproducible, not secret
    names = iter(range(10_000))

    async def client(pipelined: int, rounds: int) -> None:
        # Each connection keeps its own session from request to request.
        cookie, owner = "", ""
        async with connect(server.url) as connection:
            for _ in range(rounds):
                sent = [(dice.choice(KINDS), str(next(names))) for _ in range(pipelined)]
                for kind, name in sent:
                    path = f"/mine/{kind}/{name}?session={owner}"
                    body = name.encode() if dice.random() < 0.5 else b""
                    connection.send(path, "POST" if body else "GET", cookie, body)
                for kind, name in sent:
                    reply = await connection.reply()
                    assert 200 == reply.status
                    assert [name.encode()] * 5 == reply.body.split(), kind
                    if "set-cookie" in reply.headers:
                        cookie, owner = session_of(reply), name

    async with asyncio.TaskGroup() as group:
        for number in range(60):
            group.create_task(client(pipelined=1 + number % 4, rounds=4))


def session_of(reply: Reply) -> str:
    return f"Cookie: {reply.headers['set-cookie'].partition(';')[0]}\r\n"
