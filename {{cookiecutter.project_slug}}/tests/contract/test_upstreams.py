"""Calls over a real socket: at once, within a deadline, and each failure by its name."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

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

from ..serving import free_port

pytestmark = pytest.mark.anyio

CALLS = 10  # of one request
REQUESTS = 5  # at once


def reply(body: bytes = b"ok", status: str = "200 OK", *fields: str) -> bytes:
    """Return a whole HTTP/1.1 reply."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


# What the upstream writes before it closes the connection; None resets it at once.
ENDS: dict[str, bytes | None] = {
    "/hangs-up": b"",
    "/resets": None,
    "/truncates": reply(b"whole")[:-2],
    "/garbage": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "/bad-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n",
}
REPLIES = {
    "/503": reply(status="503 Service Unavailable"),
    "/404": reply(status="404 Not Found"),
    "/302": reply(b"", "302 Found", "Location: /"),
    "/huge": reply(bytes(2000)),
}


@dataclass
class Fake:
    """An upstream: all its replies wait for `held`, if there is such a barrier."""

    url: str = ""
    connections: int = 0
    held: asyncio.Barrier | None = None
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        self.writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ", 2)[1].decode()
                if self.held is not None:
                    await self.held.wait()
                if path in ENDS:
                    self._end(writer, ENDS[path])
                    return
                if path != "/hangs":
                    writer.write(REPLIES.get(path, reply()))

    def _end(self, writer: asyncio.StreamWriter, last: bytes | None) -> None:
        if last is None:
            writer.transport.abort()
        else:
            writer.write(last)
            writer.close()


@asynccontextmanager
async def faked(**policy: Any) -> AsyncIterator[tuple[Fake, Upstream]]:
    """Serve an upstream, and open a client of it."""
    fake = Fake()
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.url = "http://{}:{}".format(*server.sockets[0].getsockname())
    usual = {"timeout": 20, "max_connections": CALLS * REQUESTS, "max_response_bytes": 1000}
    upstream = Upstream("fake", fake.url, **(usual | policy))
    try:
        async with upstream.open():
            yield fake, upstream
    finally:
        server.close()
        for writer in fake.writers:
            writer.close()
        await asyncio.sleep(0)


def calls(upstream: Upstream, prefix: str = "") -> Awaitable[Any]:
    """Make all calls of a request."""
    get: Callable[[str], Awaitable[Any]] = upstream.get
    paths = [f"/{prefix}{number}" for number in range(CALLS)]
    return fan_out(get, paths, deadline=20, max_concurrency=CALLS)


async def test_the_calls_of_a_request_are_made_at_once() -> None:
    async with faked() as (fake, upstream):
        fake.held = asyncio.Barrier(CALLS)  # no reply leaves before all have arrived
        result = await calls(upstream)

    assert len(result.arrived) == CALLS


def test_the_calls_of_several_requests_are_made_at_once() -> None:
    app, lifespan = Flask(__name__), Lifespan()
    opened: list[Upstream] = []

    @lifespan.add
    @asynccontextmanager
    async def upstream(_app: Flask) -> AsyncIterator[None]:
        async with faked() as (fake, upstream):
            fake.held = asyncio.Barrier(CALLS * REQUESTS)
            opened.append(upstream)
            yield

    @app.get("/<number>")
    async def view(number: str) -> str:
        return str(len((await calls(opened[0], f"{number}-")).arrived))

    async def ask(url: str) -> list[str]:
        client = Upstream("service", url, timeout=20, max_connections=REQUESTS)
        async with client.open():
            paths = [f"/{number}" for number in range(REQUESTS)]
            return [reply.text for reply in await asyncio.gather(*map(client.get, paths))]

    with serve_in_thread(FlaskToAsgi(app, lifespan=lifespan)) as server:
        assert asyncio.run(ask(server.url)) == [str(CALLS)] * REQUESTS


async def test_a_connection_is_used_again() -> None:
    async with faked() as (fake, upstream):
        for _ in range(3):
            assert (await upstream.get("/")).text == "ok"

    assert fake.connections == 1


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/hangs-up", UpstreamUnavailable),
        ("/resets", UpstreamUnavailable),
        ("/truncates", UpstreamUnavailable),
        ("/503", UpstreamUnavailable),
        ("/404", UpstreamRejected),
        ("/302", UpstreamInvalid),
        ("/garbage", UpstreamInvalid),
        ("/bad-chunk", UpstreamInvalid),
        ("/huge", UpstreamInvalid),
        ("/hangs", UpstreamTimeout),
    ],
)
async def test_each_failure_has_its_error_and_gives_the_connection_back(
    path: str, error: type[Exception]
) -> None:
    timeout = 0.1 if path == "/hangs" else 20
    async with faked(max_retries=0, max_connections=1) as (_, upstream):
        with pytest.raises(error):
            await upstream.get(path, timeout=timeout)

        assert (await upstream.get("/")).text == "ok"


async def test_a_refused_connection_is_an_upstream_that_is_unavailable() -> None:
    upstream = Upstream("gone", f"http://127.0.0.1:{free_port()}", timeout=20, max_connections=1)

    with pytest.raises(UpstreamUnavailable):
        await upstream.get("/")


async def test_a_call_ends_with_the_deadline_of_its_request() -> None:
    async with faked() as (_, upstream):
        with pytest.raises(DeadlineExceeded), within(0.1):
            await upstream.get("/hangs")

        assert (await upstream.get("/")).text == "ok"


async def test_a_call_that_is_cancelled_gives_its_connection_back() -> None:
    async with faked(max_connections=1) as (fake, upstream):
        fake.held = asyncio.Barrier(2)
        call = asyncio.create_task(upstream.get("/"))
        async with asyncio.timeout(20):
            while not fake.connections:  # noqa: ASYNC110 - the server says nothing
                await asyncio.sleep(0.01)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        fake.held = None

        assert (await upstream.get("/")).text == "ok"
