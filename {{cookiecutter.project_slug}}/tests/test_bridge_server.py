"""The bridge under a real server: kept-alive connections, streams, clients that go away."""

import asyncio
from collections.abc import Iterator

import pytest

from .serving import Server, serve
from .wire import connect, get

pytestmark = pytest.mark.anyio

REQUESTS = 500


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("tests.bridge_app:asgi") as server:
        yield server


async def event(server: Server, name: str) -> None:
    """Wait until the application has noted the event `name`."""
    async with asyncio.timeout(10):
        while (await get(server.url, f"/event/{name}")).body != b"1":  # noqa: ASYNC110 - remote
            await asyncio.sleep(0.01)


async def back_to_back(server: Server, paths: list[str]) -> set[tuple[int, bytes]]:
    """Return the distinct answers to requests on one connection.

    Each is sent the instant the last body byte of the response before it has arrived.
    """
    answers = set()
    async with connect(server.url) as connection:
        for path in paths:
            connection.send(path)
            reply = await connection.reply()
            answers.add((reply.status, reply.body))
    return answers


@pytest.mark.parametrize(
    "paths",
    [["/ping/async"], ["/ping/sync"], ["/ping/async", "/ping/sync"]],
    ids=["async", "sync", "mixed"],
)
async def test_every_request_on_a_kept_alive_connection_is_answered_and_isolated(
    server: Server, paths: list[str]
) -> None:
    per_connection = (paths * REQUESTS)[:REQUESTS]

    answers = await asyncio.gather(*(back_to_back(server, per_connection) for _ in range(5)))

    assert [{(200, b"clean")}] * 5 == answers


async def test_pipelined_requests_are_answered_and_isolated(server: Server) -> None:
    async with connect(server.url) as connection:
        for _ in range(50):
            connection.send("/ping/async")
            connection.send("/ping/sync")
        bodies = {(await connection.reply()).body for _ in range(100)}

    assert {b"clean"} == bodies


async def test_a_client_that_goes_away_cancels_its_async_view(server: Server) -> None:
    async with connect(server.url) as connection:
        connection.send("/hang")
        await event(server, "hang-began")

    await event(server, "hang-cancelled")
    await event(server, "teardown-after-cancellation")


@pytest.mark.parametrize("kind", ["async", "sync", "sync-in-async"])
async def test_a_stream_arrives_while_it_is_produced(server: Server, kind: str) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/stream/{kind}")
        await connection.head()

        assert b"first" == await connection.chunk()

        # The second part is held back until this request, which the first must not wait for.
        await get(server.url, f"/acknowledge/{kind}")

        assert (await connection.chunk()).startswith(b"second")
        assert b"" == await connection.chunk()

    await event(server, f"{kind}-stream-closed")


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_an_aborted_stream_is_closed(server: Server, kind: str) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/endless/{kind}")
        await connection.head()
        await connection.chunk()

    await event(server, f"endless-{kind}-stream-closed")


async def test_an_error_after_the_first_byte_breaks_the_connection(server: Server) -> None:
    async with connect(server.url) as connection:
        connection.send("/broken")
        await connection.head()

        assert b"first" == await connection.chunk()
        with pytest.raises(asyncio.IncompleteReadError):
            await connection.chunk()


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_chunked_upload_is_read_while_it_arrives(server: Server, kind: str) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/upload/{kind}", "POST", "Transfer-Encoding: chunked\r\n")
        connection.writer.write(b"5\r\nfirst\r\n")
        await event(server, f"{kind}-upload-read-first")
        connection.writer.write(b"6\r\nsecond\r\n0\r\n\r\n")

        assert b"firstsecond" == (await connection.reply()).body
