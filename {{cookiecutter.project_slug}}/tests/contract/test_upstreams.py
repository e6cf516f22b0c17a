"""Calls over a real socket: concurrent, within a deadline, and with typed errors."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, suppress
from functools import partial

import httpx
import pytest
import upstreams
from flask import Flask
from flask_asgi import FlaskToAsgi, Lifespan, serve_in_thread
from upstreams import Upstream, fan_out, within

from ..serving import PATIENCE, free_port

pytestmark = pytest.mark.anyio

CALLS, REQUESTS = 10, 5  # of each request, and at once
client = partial(Upstream, "fake", timeout=PATIENCE, max_retries=0, max_response_bytes=5)

# The upstream's bytes, its next action on the connection, and the caller's result.
HEAD, EMPTY = b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n\r\n"
FIVE, CHUNKS = b"Content-Length: 5\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"
FAILURES = {
    "/hangs-up": (b"", "close", upstreams.UpstreamUnavailable),
    "/resets": (b"", "reset", upstreams.UpstreamUnavailable),
    "/truncates": (HEAD + FIVE + b"four", "close", upstreams.UpstreamUnavailable),
    "/503": (b"HTTP/1.1 503 No\r\n" + EMPTY, "keep", upstreams.UpstreamUnavailable),
    "/404": (b"HTTP/1.1 404 No\r\n" + EMPTY, "keep", upstreams.UpstreamRejected),
    "/302": (b"HTTP/1.1 302 No\r\nLocation: /\r\n" + EMPTY, "keep", upstreams.UpstreamInvalid),
    "/huge": (HEAD + b"Content-Length: 6\r\n\r\nno end", "keep", upstreams.UpstreamInvalid),
    "/garbage": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "close", upstreams.UpstreamInvalid),
    "/bad-chunk": (HEAD + CHUNKS + b"?\r\n", "close", upstreams.UpstreamInvalid),
}


@asynccontextmanager
async def faked(calls: int = 1) -> AsyncIterator[Upstream]:
    """Open a client of an upstream that answers with its port once all calls have arrived."""
    barrier = asyncio.Barrier(calls)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fine = HEAD + FIVE + b"%05d" % writer.get_extra_info("peername")[1], "keep", None
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
                await barrier.wait()
                reply, then, _ = FAILURES.get(path, fine)
                writer.write(b"" if path == "/hangs" else reply)
                if then == "close":
                    writer.close()
                elif then == "reset":
                    writer.transport.abort()

    with closing(await asyncio.start_server(serve, "127.0.0.1", 0)) as server:
        url = "http://{}:{}".format(*server.sockets[0].getsockname())
        async with (upstream := client(url, max_connections=calls)).open():
            yield upstream


def test_the_calls_of_several_requests_run_concurrently() -> None:
    app, lifespan = Flask(__name__), Lifespan()

    @lifespan.add
    @asynccontextmanager
    async def upstream(app: Flask) -> AsyncIterator[None]:
        async with faked(CALLS * REQUESTS) as app.extensions["upstream"]:
            yield

    @app.get("/<request>")
    async def view(request: str) -> str:
        get, paths = app.extensions["upstream"].get, [f"/{request}/{n}" for n in range(CALLS)]
        result = await fan_out(get, paths, deadline=PATIENCE, max_concurrency=CALLS)
        return f"{len(result.arrived)} arrived"

    with (
        serve_in_thread(FlaskToAsgi(app, lifespan=lifespan)) as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE) as client,
        ThreadPoolExecutor(REQUESTS) as pool,
    ):
        answers = list(pool.map(client.get, [f"/{number}" for number in range(REQUESTS)]))

    assert [answer.text for answer in answers] == [f"{CALLS} arrived"] * REQUESTS


async def test_a_connection_is_reused() -> None:
    async with faked() as upstream:
        assert len({(await upstream.get("/")).text for _ in range(3)}) == 1


@pytest.mark.parametrize("path", FAILURES)
async def test_each_failure_raises_its_error_and_frees_the_connection(path: str) -> None:
    *_, error = FAILURES[path]
    async with faked() as upstream:
        with pytest.raises(error):
            await upstream.get(path)

        assert (await upstream.get("/")).is_success


async def test_an_upstream_that_refuses_connections_is_unavailable() -> None:
    with pytest.raises(upstreams.UpstreamUnavailable):
        await client(f"http://127.0.0.1:{free_port()}", max_connections=1).get("/")


async def test_a_cancelled_call_frees_its_connection() -> None:
    async with faked() as upstream:
        with pytest.raises(upstreams.UpstreamTimeout):
            await upstream.get("/hangs", timeout=0.1)
        with pytest.raises(upstreams.DeadlineExceeded), within(0.1):
            await upstream.get("/hangs")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):  # the timeout cancels it
                await upstream.get("/hangs")

        assert (await upstream.get("/")).is_success
