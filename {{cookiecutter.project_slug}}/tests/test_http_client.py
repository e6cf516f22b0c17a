"""The client of one upstream, against real sockets that behave and misbehave."""

import asyncio
import gzip

import httpx
import pytest

from {{ cookiecutter.package_name }}.clients.errors import (
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from {{ cookiecutter.package_name }}.clients.http import Upstream

from .raw_upstream import RawUpstream, Reply, http, serve_raw

pytestmark = pytest.mark.anyio


def connect(
    served: RawUpstream, *, timeout: float = 5, max_connections: int = 10, coalesce: bool = True
) -> Upstream:
    """Return a client of the served upstream that tries everything once."""
    return Upstream(
        "raw",
        served.base_url,
        timeout=timeout,
        max_connections=max_connections,
        max_retries=0,
        coalesce=coalesce,
    )


async def test_an_open_upstream_keeps_its_connection_for_the_next_call() -> None:
    async with serve_raw(http(b"hello")) as served:
        upstream = connect(served)
        async with upstream.open():
            replies = [(await upstream.get("/")).text for _ in range(3)]

    assert replies == ["hello"] * 3
    assert served.connections == 1


async def test_an_upstream_that_is_not_open_connects_for_each_call() -> None:
    async with serve_raw(http(b"hello")) as served:
        upstream = connect(served)
        replies = [(await upstream.get("/")).text for _ in range(3)]

    assert replies == ["hello"] * 3
    assert served.connections == 3


async def test_a_closed_upstream_can_still_be_called_and_opened_again() -> None:
    async with serve_raw(http(b"hello")) as served:
        upstream = connect(served)
        async with upstream.open():
            await upstream.get("/")
        replies = [await upstream.get("/")]
        async with upstream.open():
            replies += [await upstream.get("/"), await upstream.get("/")]

    assert [each.text for each in replies] == ["hello"] * 3
    assert served.connections == 3


async def test_another_event_loop_does_not_get_the_pooled_client() -> None:
    async with serve_raw(http(b"hello")) as served:
        upstream = connect(served)
        async with upstream.open():
            await upstream.get("/")
            elsewhere = await asyncio.to_thread(asyncio.run, upstream.get("/"))

    assert elsewhere.text == "hello"
    assert served.connections == 2


async def test_opening_twice_is_refused_because_one_pool_would_be_lost() -> None:
    upstream = Upstream("raw", "http://127.0.0.1", timeout=1, max_connections=1)
    async with upstream.open():
        with pytest.raises(RuntimeError, match="raw is open already"):
            async with upstream.open():
                pass


async def test_a_path_is_added_to_the_base_url_with_its_parameters_and_headers() -> None:
    async with serve_raw(http(b"")) as served:
        upstream = Upstream("raw", f"{served.base_url}/v1", timeout=5, max_connections=1)
        await upstream.get("/a%2Fb", params={"q": "x y"}, headers={"X-Request-ID": "42"})

    [head] = served.heads
    assert head.startswith("GET /v1/a%2Fb?q=x+y HTTP/1.1\r\n")
    assert "x-request-id: 42\r\n" in head.lower()


async def test_a_parameter_may_have_several_values() -> None:
    async with serve_raw(http(b"")) as served:
        await connect(served).get("/", params=httpx.QueryParams([("q", "x"), ("q", "y")]))

    [head] = served.heads
    assert head.startswith("GET /?q=x&q=y HTTP/1.1\r\n")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_header_that_is_given_takes_the_place_of_the_usual_one(method: str) -> None:
    given = {"Host": "prices.example.com", "accept": "text/csv"}
    async with serve_raw(http(b"")) as served:
        upstream = connect(served)
        if method == "GET":
            await upstream.get("/", headers=given)
        else:
            await upstream.request(method, "/", headers=given)

    [head] = served.heads
    assert [line for line in head.lower().splitlines() if line.startswith(("host", "accept:"))] == [
        "host: prices.example.com",
        "accept: text/csv",
    ]


async def test_a_compressed_reply_is_decoded_once() -> None:
    reply = http(gzip.compress(b"hello"), "Content-Encoding: gzip")
    async with serve_raw(reply) as served:
        response = await connect(served).get("/")

    assert response.content == b"hello"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("302 Found", UpstreamInvalid),
        ("404 Not Found", UpstreamRejected),
        ("429 Too Many Requests", UpstreamUnavailable),
        ("500 Internal Server Error", UpstreamUnavailable),
        ("503 Service Unavailable", UpstreamUnavailable),
    ],
)
async def test_a_reply_that_is_no_success_is_an_error(
    status: str, error: type[UpstreamError]
) -> None:
    async with serve_raw(http(b"secret", "Location: /elsewhere", status=status)) as served:
        with pytest.raises(error) as caught:
            await connect(served).get("/")

    assert str(caught.value) == f"raw answered {status[:3]}"
    assert caught.value.upstream == "raw"
    assert len(served.heads) == 1, "followed the redirect, or asked again"


async def hang_up(_: asyncio.StreamWriter) -> None:
    """Close the connection without a word."""


async def reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection in the middle of the body."""
    writer.write(http(b"hello")[:-2])
    await writer.drain()
    writer.transport.abort()


async def truncated(writer: asyncio.StreamWriter) -> None:
    """Promise more than is sent."""
    writer.write(http(b"hello")[:-2])


async def stay_silent(_: asyncio.StreamWriter) -> None:
    """Take the request and never answer."""
    await asyncio.sleep(5)


async def trickle(writer: asyncio.StreamWriter) -> None:
    """Send a byte now and then: no single wait is long."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


BAD_CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a length\r\n"
FAULTS = {
    "hangs up": (hang_up, UpstreamUnavailable),
    "breaks off the body": (reset, UpstreamUnavailable),
    "ends the body early": (truncated, UpstreamUnavailable),
    "breaks a chunk": (BAD_CHUNK, UpstreamInvalid),
    "is silent": (stay_silent, UpstreamTimeout),
    "trickles": (trickle, UpstreamTimeout),
    "is no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", UpstreamInvalid),
    "redirects to no URL": (http(b"", "Location: http://[", status="302 Found"), UpstreamInvalid),
    "is no gzip": (http(b"hello", "Content-Encoding: gzip"), UpstreamInvalid),
}


@pytest.mark.parametrize(("reply", "error"), FAULTS.values(), ids=FAULTS.keys())
async def test_an_upstream_that_fails_is_a_typed_error_without_its_address(
    reply: bytes | Reply, error: type[UpstreamError]
) -> None:
    async with serve_raw(reply) as served:
        with pytest.raises(error) as caught:
            await connect(served, timeout=0.2).get("/secret")

    assert caught.value.upstream == "raw"
    assert "127.0.0.1" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_refused_connection_is_unavailable_and_no_timeout(scheme: str) -> None:
    async with serve_raw(b"") as served:
        pass
    upstream = Upstream(
        "raw", served.base_url.replace("http", scheme), timeout=5, max_connections=1
    )
    with pytest.raises(UpstreamUnavailable):
        await upstream.get("/")


async def test_a_call_never_has_a_cookie_of_an_earlier_one() -> None:
    async with serve_raw(http(b"", "Set-Cookie: user=alice; Path=/")) as served:
        # By name, because aiohttp's jar never takes a cookie from an address.
        served.base_url = served.base_url.replace("127.0.0.1", "localhost")
        upstream = connect(served)
        async with upstream.open():
            await upstream.get("/")
            await upstream.get("/")

    assert served.connections == 1
    assert not any("alice" in head for head in served.heads)


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with serve_raw(http(b"hello")) as served:
        response = await connect(served).get("/")

    assert response.text == "hello"


async def test_the_pool_never_opens_more_connections_than_it_may() -> None:
    inside = most = 0

    async def count(writer: asyncio.StreamWriter) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.01)
        inside -= 1
        writer.write(http(b""))

    async with serve_raw(count) as served:
        upstream = connect(served, max_connections=2)
        async with upstream.open():
            await asyncio.gather(*(upstream.get(f"/{number}") for number in range(6)))

    assert most == 2


async def test_cancelled_calls_leave_the_pool_whole() -> None:
    stuck = True
    both = asyncio.Barrier(2)

    async def reply(writer: asyncio.StreamWriter) -> None:
        if stuck:
            await stay_silent(writer)
        await both.wait()
        writer.write(http(b"hello"))

    async with serve_raw(reply) as served:
        upstream = connect(served, max_connections=2, coalesce=False)
        async with upstream.open():
            for moments in range(100):
                calls = asyncio.gather(*(upstream.get("/") for _ in range(4)))
                await asyncio.sleep(0.0001 * moments)  # before, while and after it connects
                calls.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await calls
            stuck = False
            replies = await asyncio.gather(upstream.get("/"), upstream.get("/"))

    assert [each.text for each in replies] == ["hello", "hello"]


async def test_a_bug_in_the_transport_is_not_taken_for_a_failing_upstream() -> None:
    def explode(_: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    upstream = Upstream(
        "raw",
        "http://raw.invalid",
        timeout=1,
        max_connections=1,
        transport=lambda: httpx.MockTransport(explode),
    )
    with pytest.raises(ZeroDivisionError):
        await upstream.get("/")
