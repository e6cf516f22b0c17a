"""The transport under the clients: each way to fail is the error that httpx has for it."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trustme

from {{ cookiecutter.package_name }}.clients.transport import (
    AiohttpTransport,
    NotHTTP,
)

from .faulty import serve_faulty, serve_silence
from .serving import free_port

pytestmark = pytest.mark.anyio

NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@asynccontextmanager
async def connections(
    most: int = 1, tls: ssl.SSLContext = NOBODY
) -> AsyncIterator[AiohttpTransport]:
    async with AiohttpTransport(max_connections=most, tls=tls) as transport:
        yield transport


async def get(transport: AiohttpTransport, url: str, **timeouts: float) -> bytes:
    """Return the body of the reply, as it was sent."""
    request = httpx.Request("GET", url, extensions={"timeout": timeouts})
    response = await transport.handle_async_request(request)
    try:
        return b"".join([part async for part in response.aiter_raw()])
    finally:
        await response.aclose()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_refused_connection_is_a_connect_error(scheme: str) -> None:
    async with connections() as transport:
        with pytest.raises(httpx.ConnectError):
            await get(transport, f"{scheme}://127.0.0.1:{free_port()}/")


async def test_a_name_that_does_not_exist_is_a_connect_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with connections() as transport:
        with pytest.raises(httpx.ConnectError):
            await get(transport, "http://nowhere.invalid/")


async def test_a_slow_tls_handshake_is_a_connect_timeout() -> None:
    async with serve_silence() as address, connections() as transport:
        with pytest.raises(httpx.ConnectTimeout):
            await get(transport, f"https://{address}/", connect=0.05)


@pytest.fixture
def certified() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's side of TLS, and a client's that trusts it; not on a loop, it blocks."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


async def test_a_certificate_that_nobody_trusts_is_a_connect_error(
    certified: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with serve_faulty(certified[0]) as upstream, connections() as transport:
        with pytest.raises(httpx.ConnectError):
            await get(transport, upstream.base_url)

    assert upstream.requests == 0


async def test_a_trusted_certificate_is_accepted(
    certified: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server, trusting = certified
    async with serve_faulty(server) as upstream, connections(tls=trusting) as transport:
        assert b"price" in await get(transport, upstream.base_url)


async def test_a_full_pool_is_a_pool_timeout_and_reaches_nobody() -> None:
    async with serve_faulty() as upstream, connections() as transport:
        busy = asyncio.create_task(get(transport, f"{upstream.base_url}/held"))
        await upstream.reached(1)
        with pytest.raises(httpx.PoolTimeout):
            await get(transport, upstream.base_url, pool=0.01)
        upstream.held.set()
        await busy
        await get(transport, upstream.base_url, pool=0.01)

    assert upstream.requests == 2


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("hang-up", httpx.RemoteProtocolError),
        ("reset", httpx.ReadError),
        ("reset-in-the-body", httpx.RemoteProtocolError),
        ("truncate", httpx.RemoteProtocolError),
        ("bad-chunk", NotHTTP),
        ("not-http", NotHTTP),
        ("hang", httpx.ReadTimeout),
    ],
)
async def test_a_failure_after_the_request_was_sent_is_never_a_connect_error(
    fault: str, error: type[Exception]
) -> None:
    async with serve_faulty() as upstream, connections() as transport:
        with pytest.raises(error) as caught:
            await get(transport, f"{upstream.base_url}/{fault}", read=0.1)
        assert b"price" in await get(transport, upstream.base_url, pool=0.1)

    assert error is caught.type
    assert upstream.requests == 2, "sent it once more by itself"


async def test_a_kept_connection_that_breaks_is_not_used_for_the_same_request_again() -> None:
    async with serve_faulty() as upstream, connections() as transport:
        await get(transport, upstream.base_url)
        with pytest.raises(httpx.RemoteProtocolError):
            await get(transport, f"{upstream.base_url}/hang-up")

    assert (upstream.requests, upstream.connections) == (2, 1)


async def test_a_reason_that_is_no_text_is_no_error_and_keeps_no_connection() -> None:
    async with serve_faulty() as upstream, connections() as transport:
        for _ in range(3):
            assert await get(transport, f"{upstream.base_url}/odd-phrase", pool=0.1) == b""

    assert upstream.connections == 1


async def test_a_reply_that_is_not_read_gives_its_place_back() -> None:
    async with serve_faulty() as upstream, connections() as transport:
        for _ in range(3):
            request = httpx.Request("GET", f"{upstream.base_url}/endless")
            response = await transport.handle_async_request(request)
            await response.aclose()
            await response.aclose()
        busy = asyncio.create_task(get(transport, f"{upstream.base_url}/held"))
        await upstream.reached(4)
        with pytest.raises(httpx.PoolTimeout):  # one place, although it was given back six times
            await get(transport, upstream.base_url, pool=0.01)
        busy.cancel()
        with pytest.raises(asyncio.CancelledError):
            await busy


async def test_a_body_is_sent() -> None:
    async with serve_faulty() as upstream, connections() as transport:
        request = httpx.Request("POST", upstream.base_url, json={"a": 1})
        response = await transport.handle_async_request(request)
        await response.aread()

    assert "content-length: 7\r\n" in upstream.heads[0].lower()
