"""Calls over a real socket: at once, within a deadline, and each failure by its name."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, suppress
from functools import partial

import httpx
import pytest
from flask import Flask
from flask_asgi import FlaskToAsgi, Lifespan, serve_in_thread
from upstreams import (
    DeadlineExceeded,
    Upstream,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
    fan_out,
    within,
)

from ..serving import PATIENCE, free_port

pytestmark = pytest.mark.anyio

CALLS = 10  # of one request
REQUESTS = 5  # at once
client = partial(Upstream, "fake", timeout=PATIENCE, max_retries=0, max_response_bytes=2)

# What an upstream writes, what it then does with the connection, and what the caller gets.
HEAD, EMPTY = b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n\r\n"
OK = (HEAD + b"Content-Length: 2\r\n\r\nok", "keep", None)
FAILURES = {
    "/hangs-up": (b"", "close", UpstreamUnavailable),
    "/resets": (b"", "reset", UpstreamUnavailable),
    "/truncates": (HEAD + b"Content-Length: 2\r\n\r\no", "close", UpstreamUnavailable),
    "/503": (b"HTTP/1.1 503 No\r\n" + EMPTY, "keep", UpstreamUnavailable),
    "/404": (b"HTTP/1.1 404 No\r\n" + EMPTY, "keep", UpstreamRejected),
    "/302": (b"HTTP/1.1 302 No\r\nLocation: /\r\n" + EMPTY, "keep", UpstreamInvalid),
    "/huge": (HEAD + b"Content-Length: 3\r\n\r\nbig", "keep", UpstreamInvalid),
    "/garbage": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "close", UpstreamInvalid),
    "/bad-chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n?\r\n", "close", UpstreamInvalid),
    "/hangs": (b"", "keep", UpstreamTimeout),
}


class Fake:
    """An upstream. It answers when so many requests, or a test, are at its barrier."""

    def __init__(self, parties: int) -> None:
        self.barrier = asyncio.Barrier(parties)
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                await self.barrier.wait()
                reply, then, _ = FAILURES.get(head.split()[1].decode(), OK)
                writer.write(reply)
                if then == "close":
                    writer.close()
                elif then == "reset":
                    writer.transport.abort()


@asynccontextmanager
async def faked(calls: int = 1) -> AsyncIterator[tuple[Fake, Upstream]]:
    """Serve an upstream that answers when so many calls are there, and open a client of it."""
    fake = Fake(calls)
    with closing(await asyncio.start_server(fake.serve, "127.0.0.1", 0)) as server:
        url = "http://{}:{}".format(*server.sockets[0].getsockname())
        upstream = client(url, max_connections=calls)
        async with upstream.open():
            yield fake, upstream


def test_the_calls_of_several_requests_are_made_at_once() -> None:
    app, lifespan = Flask(__name__), Lifespan()

    @lifespan.add
    @asynccontextmanager
    async def upstream(app: Flask) -> AsyncIterator[None]:
        async with faked(CALLS * REQUESTS) as (_, app.extensions["upstream"]):
            yield

    @app.get("/<request>")
    async def view(request: str) -> str:
        get = app.extensions["upstream"].get
        paths = [f"/{request}/{number}" for number in range(CALLS)]
        result = await fan_out(get, paths, deadline=PATIENCE, max_concurrency=CALLS)
        return f"{len(result.arrived)} arrived"

    with (
        serve_in_thread(FlaskToAsgi(app, lifespan=lifespan)) as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE) as client,
        ThreadPoolExecutor(REQUESTS) as pool,
    ):
        answers = list(pool.map(client.get, [f"/{number}" for number in range(REQUESTS)]))

    assert [answer.text for answer in answers] == [f"{CALLS} arrived"] * REQUESTS


async def test_a_connection_is_used_again() -> None:
    async with faked() as (fake, upstream):
        for _ in range(3):
            assert (await upstream.get("/")).text == "ok"

    assert fake.connections == 1


@pytest.mark.parametrize("path", FAILURES)
async def test_each_failure_has_its_error_and_gives_the_connection_back(path: str) -> None:
    *_, error = FAILURES[path]
    async with faked() as (_, upstream):
        with pytest.raises(error):
            await upstream.get(path, timeout=0.1 if path == "/hangs" else PATIENCE)

        assert (await upstream.get("/")).text == "ok"


async def test_an_upstream_that_refuses_connections_is_unavailable() -> None:
    with pytest.raises(UpstreamUnavailable):
        await client(f"http://127.0.0.1:{free_port()}", max_connections=1).get("/")


async def test_a_call_ends_with_the_deadline_of_its_request() -> None:
    async with faked() as (_, upstream):
        with pytest.raises(DeadlineExceeded), within(0.1):
            await upstream.get("/hangs")

        assert (await upstream.get("/")).text == "ok"


async def test_a_call_that_is_cancelled_gives_its_connection_back() -> None:
    async with faked() as (fake, upstream):
        fake.barrier = asyncio.Barrier(2)
        call = asyncio.create_task(upstream.get("/hangs"))
        await fake.barrier.wait()  # the call has arrived
        call.cancel()
        await asyncio.wait([call])
        fake.barrier = asyncio.Barrier(1)

        assert call.cancelled()
        assert (await upstream.get("/")).text == "ok"
