"""What a client gets, over real sockets: streams, their back-pressure and their end."""

import asyncio
from collections.abc import Iterator

import pytest

from .probes import BODY_MIB, GROWTH_KIB, PARTS, SERVERS, event, held, needs_proc
from .serving import Server, serve
from .wire import connect, get

pytestmark = pytest.mark.anyio


every_stream = pytest.mark.parametrize("kind", ["async", "sync", "with-context"])


@pytest.fixture(scope="module", params=SERVERS.values(), ids=list(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serve("tests.http_app:asgi", *request.param) as server:
        yield server


async def settled(server: Server, name: str, more_than: int = 0) -> int:
    """Return how often the event has happened, once it has and has stopped happening."""
    async with asyncio.timeout(10):
        before, now = 0, await event(server, name)
        while now <= more_than or before != now:
            await asyncio.sleep(0.05)
            before, now = now, await event(server, name)
    return now


@needs_proc
@every_stream
async def test_a_slow_reader_holds_the_view_back_and_memory_stays_flat(
    server: Server, kind: str
) -> None:
    before = await held(server)
    async with connect(server.url) as connection:
        connection.send(f"/parts/{PARTS}/{kind}")
        await connection.head()
        produced = await settled(server, f"{kind}-parts")
        received = 0
        while chunk := await connection.chunk():
            received += len(chunk)

    assert produced < PARTS / 2
    assert BODY_MIB * 2**20 == received
    assert (await held(server))["peak"] - before["peak"] < GROWTH_KIB


async def test_an_async_iterator_need_not_be_a_generator(server: Server) -> None:
    assert b"tick tick tick " == (await get(server.url, "/ticks")).body


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_an_async_generator_can_keep_the_context_of_its_request(
    server: Server, kind: str
) -> None:
    async with connect(server.url) as one, connect(server.url) as other:
        one.send(f"/names/{kind}?name={kind}-one&note={kind}-one")
        other.send(f"/names/{kind}?name={kind}-other")
        await one.head()
        await other.head()
        for _ in range(10):
            assert f"{kind}-one".encode() == await one.chunk()
            assert f"{kind}-other".encode() == await other.chunk()

    assert 1 == await settled(server, f"{kind}-one-left")
    assert 0 < await settled(server, f"{kind}-one-torn-down")


async def test_server_sent_events_arrive_one_by_one(server: Server) -> None:
    async with connect(server.url) as connection:
        connection.send("/server-sent-events", headers="Accept: text/event-stream\r\n")
        _, headers = await connection.head()
        assert "text/event-stream" in headers["content-type"]
        assert b"data: first\n\n" == await connection.chunk()

        await get(server.url, "/open/event")

        assert b"data: second\n\n" == await connection.chunk()
        assert b"" == await connection.chunk()


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_stream_that_the_client_aborts_is_closed_exactly_once(
    server: Server, kind: str
) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/closed-once/{kind}")
        await connection.head()
        await connection.chunk()

    assert 1 == await settled(server, f"{kind}-generator-closed")
    assert 1 == await settled(server, f"{kind}-response-closed")


async def test_a_latin_1_header_is_sent_as_it_is(server: Server) -> None:
    assert "Zo\xeb" == (await get(server.url, "/latin-1")).headers["x-name"]


@pytest.mark.parametrize("sent", [6, 300_000])
async def test_an_endless_stream_ends_though_its_request_has_a_body_that_nobody_reads(
    server: Server, sent: int
) -> None:
    before = await event(server, "endless-closed")
    async with connect(server.url) as connection:
        connection.send("/endless/async", "POST", "Content-Length: 1000000\r\n")
        connection.writer.write(bytes(sent))
        await connection.head()
        await connection.chunk()

    assert before + 1 == await settled(server, "endless-closed", more_than=before)
