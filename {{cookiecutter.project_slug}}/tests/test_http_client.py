"""The client of one upstream, against real sockets that behave and misbehave."""

import asyncio
import base64
import gzip
import logging
import os
import traceback

import httpx
import pytest
from upstreams import _upstream as module
from upstreams._errors import (
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from upstreams._fan_out import fan_out
from upstreams._upstream import Upstream

from .raw_upstream import RawUpstream, Reply, http, serve_raw
from .serving import free_port

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


@pytest.mark.parametrize(
    ("base", "path", "params", "target"),
    [
        ("", "/items?token=1", {"page": "2"}, "/items?token=1&page=2"),
        ("", "/items?token=1&page=1", {"page": "2"}, "/items?token=1&page=2"),
        ("", "/items?token=1", {}, "/items?token=1"),
        ("", "/items?token=a%20b+c", None, "/items?token=a%20b+c"),
        ("", "?a=1", {"b": "2"}, "/?a=1&b=2"),
        ("", "", {"b": "2"}, "/?b=2"),
        ("/v1?key=1", "/items", None, "/v1/items?key=1"),
        ("/v1/?key=1", "/items", None, "/v1/items?key=1"),
        ("/v1?key=1", "/items?token=2", {"page": "3"}, "/v1/items?key=1&token=2&page=3"),
        ("/v1?key=1", "", None, "/v1?key=1"),
        ("/v1", "/items", {"q": "a&b=c#d"}, "/v1/items?q=a%26b%3Dc%23d"),
        ("/v1", f"/items?long={'x' * 1000}", {"page": "2"}, f"/v1/items?long={'x' * 1000}&page=2"),
    ],
)
async def test_queries_of_base_path_and_parameters_are_joined(
    base: str, path: str, params: dict[str, str] | None, target: str
) -> None:
    async with serve_raw(http(b"")) as served:
        upstream = Upstream("raw", served.base_url + base, timeout=5, max_connections=1)
        await upstream.get(path, params=params)

    assert served.heads[0].split(" ")[1] == target


@pytest.mark.parametrize("path", ["/items#part", "#part", "items", "@other.example/", ":1/"])
async def test_a_path_that_could_change_the_host_or_is_cut_off_is_refused(path: str) -> None:
    upstream = Upstream("raw", "http://raw.invalid", timeout=5, max_connections=1)
    with pytest.raises(ValueError, match="a path begins with '/'"):
        await upstream.get(path)


@pytest.mark.parametrize(
    "base_url",
    [
        "http://user:s3cret@raw.invalid/#part",
        "http://user:s3cret@raw.invalid:port",
        "ftp://user:s3cret@raw.invalid",
        "//user:s3cret@raw.invalid",
        "http://",
        "",
    ],
)
def test_a_base_url_that_is_none_is_refused_without_showing_it(base_url: str) -> None:
    with pytest.raises(ValueError, match="the base URL of raw must be http") as error:
        Upstream("raw", base_url, timeout=5, max_connections=1)

    assert "s3cret" not in "".join(traceback.format_exception(error.value))


async def test_long_urls_are_not_kept() -> None:
    before = module._known_url.cache_info().currsize  # noqa: SLF001
    upstream = Upstream("raw", "http://raw.invalid", timeout=5, max_connections=1)
    for number in range(10):
        upstream._call("GET", f"/{number}{'x' * 1000}", params=None, headers=None)  # noqa: SLF001
        upstream._call("GET", "/", params={"q": f"{number}{'x' * 1000}"}, headers=None)  # noqa: SLF001

    assert module._known_url.cache_info().currsize == before  # noqa: SLF001


async def test_a_user_in_the_base_url_is_sent_as_basic_authorization() -> None:
    async with serve_raw(http(b"")) as served:
        base_url = served.base_url.replace("http://", "http://us%40er:pass%3Aword@")
        upstream = Upstream("raw", base_url, timeout=5, max_connections=1)
        await upstream.get("/")
        await upstream.get("/", headers={"Authorization": "Bearer a"})

    sent = [line for head in served.heads for line in head.splitlines() if "uthorization" in line]
    pair = base64.b64encode(b"us@er:pass:word").decode()
    assert sent[0] == f"Authorization: Basic {pair}"
    assert [line.lower() for line in sent[1:]] == ["authorization: bearer a"]
    assert all(head.lower().count("host: 127.0.0.1") == 1 for head in served.heads)


SECRETS = ("s3cret", "p4ssword")


@pytest.mark.parametrize("kind", ["not HTTP", "refused", "cut off", "503", "no gzip", "silent"])
async def test_no_error_repr_or_log_line_holds_a_secret_of_the_address(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    replies: dict[str, bytes | Reply] = {
        "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "cut off": truncated,
        "503": http(b"", status="503 Oh"),
        "no gzip": http(b"hello", "Content-Encoding: gzip"),
        "silent": stay_silent,
    }
    caplog.set_level(logging.DEBUG)
    path = f"/a?apikey={SECRETS[0]}"
    async with serve_raw(replies.get(kind, b"")) as served:
        base_url = served.base_url.replace("http://", "http://user:p4ssword@")
        if kind == "refused":
            base_url = f"http://user:p4ssword@127.0.0.1:{free_port()}"
        upstream = Upstream(
            "raw", f"{base_url}/v1?apikey=s3cret", timeout=0.2, max_connections=1, max_retries=0
        )
        async with upstream.open():
            with pytest.raises(UpstreamError) as caught:
                await upstream.get(path, params={"token": SECRETS[0]})
            result = await fan_out(
                lambda _: upstream.get(path), ["key"], deadline=5, max_concurrency=1
            )
            logging.getLogger("test").error("unexpected", exc_info=caught.value)
            shown = repr(upstream) + repr(result) + repr(vars(caught.value))
    text = shown + "".join(traceback.format_exception(caught.value))
    text += "".join(record.getMessage() + (record.exc_text or "") for record in caplog.records)

    for secret in SECRETS:
        assert secret not in text


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"HTTP_PROXY": "http://127.0.0.1:1"}, True),
        ({"http_proxy": "http://user:s3cret@127.0.0.1:1"}, True),
        ({"HTTPS_PROXY": "http://127.0.0.1:1"}, False),
        ({"HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "127.0.0.1"}, False),
        ({}, False),
    ],
)
async def test_a_proxy_in_the_environment_is_not_used_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variables: dict[str, str],
    said: object,
) -> None:
    for name in [*os.environ]:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.INFO)
    async with serve_raw(http(b"hello")) as served:
        upstream = connect(served)
        async with upstream.open():
            assert (await upstream.get("/")).text == "hello"

    assert ("HTTP_PROXY is not used: raw is called directly" in caplog.text) is said
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("error", [asyncio.CancelledError])
async def test_a_cancellation_of_something_else_is_no_cancellation_of_the_call(
    error: type[BaseException],
) -> None:
    def explode(_: httpx.Request) -> httpx.Response:
        raise error

    upstream = Upstream(
        "raw",
        "http://raw.invalid",
        timeout=1,
        max_connections=1,
        transport=lambda: httpx.MockTransport(explode),
    )
    with pytest.raises(RuntimeError, match="waited for something that was cancelled"):
        await upstream.get("/")
    async with upstream.open():
        with pytest.raises(RuntimeError, match="waited for something that was cancelled"):
            await upstream.get("/")


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
