"""Streamed request bodies."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import httpx
import pytest
from upstreams._transport import AiohttpTransport

from .fake_upstream import OK, Connection, FakeUpstream, serve

pytestmark = pytest.mark.anyio

NO_TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@asynccontextmanager
async def serve_early(upstream: FakeUpstream) -> AsyncIterator[str]:
    """Answer each connection once, at its first bytes; yield the address."""

    class Early(Connection):
        has_answered = False

        def data_received(self, _: bytes) -> None:
            if not self.has_answered:
                self.has_answered = True
                self.write(OK)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Early(upstream, None), "127.0.0.1", 0)
    yield "http://{}:{}".format(*server.sockets[0].getsockname())
    server.close()


@pytest.mark.parametrize(
    "error",
    [
        ValueError("own"),
        OSError("own"),
        TimeoutError("own"),
        aiohttp.ClientPayloadError("own"),
        aiohttp.ServerDisconnectedError("own"),
        httpx.ReadError("own"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("after", [0, 1])
async def test_an_error_of_a_body_is_raised_unchanged(error: Exception, after: int) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(after):
            yield b"part"
        raise error

    async with serve() as upstream, AiohttpTransport(tls=NO_TRUST) as transport:
        request = httpx.Request("POST", upstream.base_url, content=body())
        with pytest.raises(type(error)) as caught:
            await transport.handle_async_request(request)
        response = await transport.handle_async_request(httpx.Request("GET", upstream.base_url))
        assert b"price" in await response.aread()

    assert caught.value is error


async def test_a_body_that_raises_system_exit_ends_its_own_request_only() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"part"
        raise SystemExit

    async with serve() as upstream, AiohttpTransport(tls=NO_TRUST) as transport:
        request = httpx.Request("POST", upstream.base_url, content=body())
        with pytest.raises(RuntimeError, match="SystemExit"):
            await transport.handle_async_request(request)


async def test_a_reply_before_the_body_was_sent_ends_the_body_and_its_connection() -> None:
    ended = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        try:
            yield b"part"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with (
        serve() as upstream,
        serve_early(upstream) as url,
        AiohttpTransport(tls=NO_TRUST) as transport,
    ):
        for expected in (1, 2):
            ended.clear()
            request = httpx.Request("POST", url, content=body())
            response = await transport.handle_async_request(request)
            assert b"price" in await response.aread()
            await response.aclose()
            await ended.wait()
            assert upstream.connections == expected


@pytest.mark.parametrize("parts", [[], [b"ab"], [b"abcd"], [b"ab", b"cd"], [b"a", b"", b"bcd"]])
async def test_a_body_of_the_wrong_length_closes_its_connection(
    parts: list[bytes],
) -> None:
    async def body(parts: list[bytes]) -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    async with serve() as upstream, AiohttpTransport(tls=NO_TRUST) as transport:

        def request(parts: list[bytes]) -> httpx.Request:
            headers = {"Content-Length": "3"}
            return httpx.Request("POST", upstream.base_url, content=body(parts), headers=headers)

        with pytest.raises(ValueError, match="not as long as its Content-Length says"):
            await transport.handle_async_request(request(parts))
        response = await transport.handle_async_request(request([b"hel"]))
        await response.aread()
        await response.aclose()

    assert upstream.bodies == [b"hel"]
    assert upstream.connections == 2


async def test_a_reply_before_the_end_of_a_short_body_closes_its_connection() -> None:
    may_end = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"ab"
        await may_end.wait()

    async with (
        serve() as upstream,
        serve_early(upstream) as url,
        AiohttpTransport(tls=NO_TRUST) as transport,
    ):
        for expected in (1, 2):
            may_end.clear()
            headers = {"Content-Length": "3"}
            request = httpx.Request("POST", url, content=body(), headers=headers)
            response = await transport.handle_async_request(request)
            assert isinstance(response.stream, httpx.AsyncByteStream)
            assert [part async for part in response.stream]
            may_end.set()
            await asyncio.sleep(0)  # the body has ended, but no callback has run yet
            await response.aclose()
            assert upstream.connections == expected
