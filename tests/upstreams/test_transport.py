"""The transport under the clients: each failure is the right error of httpx."""

import asyncio
import inspect
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import httpx
import pytest
import trustme
from aiohttp.client_proto import ResponseHandler
from upstreams._connector import tls_context
from upstreams._transport import AiohttpTransport, NotHTTP

from .fake_upstream import http_reply, serve, serve_silence
from .helpers import free_port

pytestmark = pytest.mark.anyio

NO_TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@asynccontextmanager
async def connections(tls: ssl.SSLContext = NO_TRUST) -> AsyncIterator[AiohttpTransport]:
    async with AiohttpTransport(tls=tls) as transport:
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


async def test_an_unknown_host_name_is_a_connect_error(
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


async def test_an_untrusted_certificate_is_a_connect_error(
    certified: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with serve(tls=certified[0]) as upstream, connections() as transport:
        with pytest.raises(httpx.ConnectError):
            await get(transport, upstream.base_url)

    assert upstream.requests == 0


async def test_a_trusted_certificate_is_accepted(
    certified: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server, trusting = certified
    async with serve(tls=server) as upstream, connections(tls=trusting) as transport:
        assert b"price" in await get(transport, upstream.base_url)


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
    async with serve() as upstream, connections() as transport:
        with pytest.raises(error) as caught:
            await get(transport, f"{upstream.base_url}/{fault}", read=0.1)
        assert b"price" in await get(transport, upstream.base_url)

    assert error is caught.type
    assert upstream.requests == 2, "the transport sent a request again"


async def test_a_request_on_a_broken_kept_connection_is_not_retried() -> None:
    async with serve() as upstream, connections() as transport:
        await get(transport, upstream.base_url)
        with pytest.raises(httpx.RemoteProtocolError):
            await get(transport, f"{upstream.base_url}/hang-up")

    assert (upstream.requests, upstream.connections) == (2, 1)


async def test_a_reason_phrase_that_is_not_ascii_is_accepted() -> None:
    async with serve() as upstream, connections() as transport:
        for _ in range(3):
            assert await get(transport, f"{upstream.base_url}/odd-phrase") == b""

    assert upstream.connections == 1


async def test_an_unread_reply_closes_its_connection() -> None:
    async with serve() as upstream, connections() as transport:
        request = httpx.Request("GET", f"{upstream.base_url}/endless")
        response = await transport.handle_async_request(request)
        await response.aclose()
        await response.aclose()
        assert b"price" in await get(transport, upstream.base_url)

    assert upstream.connections == 2


@pytest.mark.parametrize("fault", ["not-http", "hang-up", "bad-chunk", "truncate", "reset"])
async def test_an_error_holds_no_address_and_nothing_of_aiohttp(fault: str) -> None:
    async with serve() as upstream, connections() as transport:
        with pytest.raises(httpx.TransportError) as caught:
            await get(transport, f"{upstream.base_url}/{fault}?apikey=s3cret")

    behind = caught.value.__context__
    assert behind is None or behind.__traceback__ is None
    assert "s3cret" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


# Accepted and refused replies


@pytest.mark.parametrize(
    "fields",
    [
        ["X-Long: " + "x" * 9_000],
        ["X-Long: " + "x" * 60_000],
        [f"X-{number}: {number}" for number in range(150)],
        ["Set-Cookie: " + "x" * 4000] * 50,
    ],
    ids=["9 KB", "60 KB", "150 fields", "50 cookies"],
)
async def test_long_headers_are_accepted(fields: list[str]) -> None:
    async with serve(http_reply(b"hello", *fields)) as upstream, connections() as transport:
        assert await get(transport, upstream.base_url) == b"hello"


@pytest.mark.parametrize(
    "fields",
    [["X: " + "x" * 70_000], [f"X-{number}: 1" for number in range(600)]],
    ids=["70 KB", "600 fields"],
)
async def test_headers_over_the_limits_are_refused(fields: list[str]) -> None:
    async with serve(http_reply(b"hello", *fields)) as upstream, connections() as transport:
        with pytest.raises(NotHTTP):
            await get(transport, upstream.base_url)


BODILESS = {
    "stray bytes": b"HTTP/1.1 204 No Content\r\n\r\n{}",
    "a stray reply": b"HTTP/1.1 204 No Content\r\n\r\n" + http_reply(b"another's"),
    "a length and a body": b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}",
    "a length": b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n",
    "chunks": b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "not modified": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello",
}


@pytest.mark.parametrize("reply", BODILESS.values(), ids=BODILESS.keys())
async def test_bytes_after_a_reply_without_a_body_only_close_the_connection(
    reply: bytes,
) -> None:
    async with serve(http_reply(b"hello")) as upstream, connections() as transport:
        upstream.plan.append(reply)
        assert await get(transport, upstream.base_url) == b""
        assert await get(transport, upstream.base_url) == b"hello"

    assert upstream.connections == 2


async def test_a_body_after_a_reply_to_head_only_closes_the_connection() -> None:
    async with serve(http_reply(b"hello")) as upstream, connections() as transport:
        request = httpx.Request("HEAD", upstream.base_url)
        response = await transport.handle_async_request(request)
        assert await response.aread() == b""
        await response.aclose()
        assert await get(transport, upstream.base_url) == b"hello"

    assert upstream.connections == 2


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_a_reply_without_a_body_keeps_its_connection(status: str) -> None:
    reply = f"HTTP/1.1 {status}\r\nX-A: b\r\n\r\n".encode()
    async with serve(reply) as upstream, connections() as transport:
        for _ in range(3):
            assert await get(transport, upstream.base_url) == b""

    assert upstream.connections == 1


@pytest.mark.parametrize("status", ["100 Continue", "102 Processing", "103 Early Hints"])
@pytest.mark.parametrize("times", [1, 3])
async def test_an_informational_reply_is_skipped(status: str, times: int) -> None:
    announced = f"HTTP/1.1 {status}\r\nLink: <a>\r\n\r\n".encode() * times
    async with serve(announced + http_reply(b"hello")) as upstream, connections() as transport:
        for _ in range(2):
            assert await get(transport, upstream.base_url) == b"hello"

    assert upstream.connections == 1


async def test_an_unsolicited_reply_does_not_answer_the_next_request() -> None:
    stray = http_reply(b"another's")
    async with serve(http_reply(b"hello")) as upstream, connections() as transport:
        assert await get(transport, upstream.base_url) == b"hello"
        [connection] = upstream.open
        connection.write(stray)
        [[(kept, _)]] = transport._connector._conns.values()  # noqa: SLF001
        while not kept.should_close:  # noqa: ASYNC110 - no event says that it arrived
            await asyncio.sleep(0)
        assert await get(transport, upstream.base_url) == b"hello"

    assert upstream.connections == 2


async def test_a_cancelled_request_closes_its_connection() -> None:
    async with serve() as upstream, connections() as transport:
        waiting = asyncio.create_task(get(transport, f"{upstream.base_url}/held"))
        await upstream.reached(1)
        waiting.cancel()
        await asyncio.wait([waiting])
        upstream.held.set()
        assert b"price" in await get(transport, upstream.base_url)

    assert upstream.connections == 2


def test_aiohttp_still_has_the_attributes_that_the_transport_uses() -> None:
    source = inspect.getsource(aiohttp.connector) + inspect.getsource(aiohttp.client_proto)

    for attribute in ("_factory", "_wrap_create_connection", "_skip_payload", "_should_close"):
        assert f"self.{attribute}" in source


def test_aiohttp_still_has_the_methods_that_the_transport_calls() -> None:
    connect = inspect.signature(aiohttp.TCPConnector.connect).parameters
    expect = inspect.signature(ResponseHandler.set_response_params).parameters

    assert [*connect] == ["self", "req", "traces", "timeout"]
    assert {"skip_payload", "read_until_eof", "auto_decompress", "read_timeout"} <= expect.keys()
    assert {"max_line_size", "max_field_size", "max_headers"} <= expect.keys()
    for name in ("read", "should_close", "force_close", "start_timeout", "set_exception"):
        assert hasattr(ResponseHandler, name)


def test_httpx_still_has_the_attributes_that_the_transport_uses() -> None:
    assert vars(httpx.Response(200, content=b"a"))["_content"] == b"a"
    assert vars(httpx.URL("http://a/b"))["_uri_reference"].path == "/b"


# Certificates


@pytest.fixture
def authority(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """Return the server's side of a private authority, and the file with its certificate."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    return server, file


@pytest.fixture
def trusting(
    authority: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> ssl.SSLContext:
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority[1]))
    return tls_context("https://upstream.example")


async def test_a_private_authority_is_trusted(
    authority: tuple[ssl.SSLContext, Path], trusting: ssl.SSLContext
) -> None:
    async with serve(tls=authority[0]) as upstream, connections(tls=trusting) as transport:
        assert b"price" in await get(transport, upstream.base_url)


def test_a_private_authority_is_added_to_the_public_ones(
    trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    public = tls_context("https://upstream.example").cert_store_stats()["x509_ca"]

    assert public > 50
    assert trusting.cert_store_stats()["x509_ca"] == public + 1


async def test_a_body_is_sent() -> None:
    async with serve() as upstream, connections() as transport:
        request = httpx.Request("POST", upstream.base_url, json={"a": 1})
        response = await transport.handle_async_request(request)
        await response.aread()

    assert "content-length: 7\r\n" in upstream.heads[0].lower()
