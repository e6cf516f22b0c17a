"""Requests run at the same time, proved with barriers, and share no state."""

import asyncio
import os
import random
from collections.abc import Iterator

import pytest

from tests.serving import Server, serve

from .probes import APPLICATION, event, held, needs_proc, serve_application, until_event
from .wire import Connection, Reply, connect, get, open_connection

pytestmark = pytest.mark.anyio

CLIENTS = 100  # at once
ABORTED = int(os.environ.get("ABORTED_REQUESTS", "400"))
KINDS = ("async", "sync", "async-stream", "sync-stream")

each_kind = pytest.mark.parametrize("kind", ["async", "sync"])


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve_application(threads=CLIENTS) as server:
        yield server


@pytest.fixture(scope="module")
def plain_server() -> Iterator[Server]:
    with serve(f"{APPLICATION}:plain", "--lifespan", "off") as server:
        yield server


# Barriers


async def meet(server: Server, kind: str, clients: int, patience: float) -> list[int]:
    """Return the statuses of ``clients`` requests, each of which waits until all are inside."""
    path = f"/meet/{kind}?clients={clients}&patience={patience}"
    replies = await asyncio.gather(*(get(server.url, path) for _ in range(clients)))
    return [reply.status for reply in replies]


@each_kind
async def test_a_hundred_requests_are_inside_the_view_at_once(server: Server, kind: str) -> None:
    statuses = await meet(server, kind, CLIENTS, patience=60)

    assert [200] * CLIENTS == statuses


@each_kind
async def test_the_same_requests_never_meet_under_plain_wsgi_to_asgi(
    plain_server: Server, kind: str
) -> None:
    # The documented recipe. If this test fails, asgiref has removed its limit.
    statuses = await meet(plain_server, kind, clients=20, patience=1)

    assert 504 in statuses


# Disconnects


async def hang_up(server: Server, already: int) -> None:
    """Begin requests that never end, disconnect all, and wait until they are cancelled."""
    async with asyncio.TaskGroup() as group:
        opening = [group.create_task(begin(server, number)) for number in range(CLIENTS)]
    await until_event(server, "hang-began", already + CLIENTS)
    for task in opening:
        task.result().writer.close()
    await until_event(server, "hang-left", already + CLIENTS)


async def begin(server: Server, number: int) -> Connection:
    connection = await open_connection(server.url)
    # Every other request has a body, which the view does not read.
    request = ("/hang?note=hang", "POST", "", b"unread") if number % 2 else ("/hang?note=hang",)
    connection.send(*request)
    return connection


@needs_proc
async def test_disconnects_leave_no_objects_behind(server: Server) -> None:
    await hang_up(server, already=0)
    before = await held(server)
    for already in range(CLIENTS, ABORTED + CLIENTS, CLIENTS):
        await hang_up(server, already)
    await until_event(server, "hang-torn-down", ABORTED + CLIENTS)
    after = await held(server)

    for name in ("tasks", "files", "greenlets", "threads"):
        assert after[name] <= before[name] + 2, f"{name}: {before[name]}, then {after[name]}"
    assert after["resident"] - before["resident"] < 6 * 1024  # 4,000 aborts also end at 4 MiB
    assert ABORTED + CLIENTS == await event(server, "after-request")


# Clients that share a server


async def test_no_request_sees_data_of_another_request(server: Server) -> None:
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
