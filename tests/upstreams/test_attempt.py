"""One attempt: each way in which an upstream fails has its typed error."""

import asyncio
import gzip
import logging
import traceback

import httpx
import pytest
from upstreams import (
    Upstream,
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
    fan_out,
)

from .fake_upstream import BOMB, Answer, hang, http_reply, serve, serve_silence, truncate
from .helpers import calling, connect, free_port, stubbed

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("fault", "error", "requests"),
    [
        ("hang-up", UpstreamUnavailable, 3),
        ("reset", UpstreamUnavailable, 3),
        ("reset-in-the-body", UpstreamUnavailable, 3),
        ("truncate", UpstreamUnavailable, 3),
        ("429", UpstreamUnavailable, 3),
        ("502", UpstreamUnavailable, 3),
        ("503", UpstreamUnavailable, 3),
        ("504", UpstreamUnavailable, 3),
        ("try-now", UpstreamUnavailable, 3),
        ("try-later", UpstreamUnavailable, 1),
        ("500", UpstreamUnavailable, 1),
        ("501", UpstreamUnavailable, 1),
        ("404", UpstreamRejected, 1),
        ("302", UpstreamInvalid, 1),
        ("bad-location", UpstreamInvalid, 1),
        ("no-gzip", UpstreamInvalid, 1),
        ("not-http", UpstreamInvalid, 1),
        ("bad-chunk", UpstreamInvalid, 1),
        ("huge", UpstreamInvalid, 1),
        ("bomb", UpstreamInvalid, 1),
        ("endless", UpstreamInvalid, 1),
        ("hang", UpstreamTimeout, 1),
        ("trickle", UpstreamTimeout, 1),
    ],
)
async def test_each_fault_has_its_error_and_only_a_transient_fault_is_retried(
    fault: str, error: type[UpstreamError], requests: int
) -> None:
    timeout = 0.1 if error is UpstreamTimeout else None
    async with (
        serve() as served,
        calling(served, max_connections=1, max_response_bytes=1000) as upstream,
    ):
        with pytest.raises(error) as raised:
            await upstream.get(f"/{fault}?secret", timeout=timeout)
        # After any fault the only connection is free again.
        await upstream.get("/")

    assert served.requests == requests + 1
    assert raised.value.upstream == "fake"
    assert raised.value.attempts == requests
    assert "127.0.0.1" not in str(raised.value)
    assert "secret" not in str(raised.value)


async def test_a_silent_tls_server_times_out() -> None:
    async with serve_silence() as address:
        upstream = Upstream("silent", f"https://{address}", timeout=0.1, max_connections=1)
        with pytest.raises(UpstreamTimeout):
            await upstream.get("/")


SECRETS = ("s3cret", "p4ssword")


@pytest.mark.parametrize("kind", ["not HTTP", "refused", "cut off", "503", "not gzip", "silent"])
async def test_no_error_repr_or_log_line_holds_a_secret_of_the_address(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    replies: dict[str, bytes | Answer] = {
        "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "cut off": truncate,
        "503": http_reply(b"", status="503 Oh"),
        "not gzip": http_reply(b"hello", "Content-Encoding: gzip"),
        "silent": hang,
    }
    caplog.set_level(logging.DEBUG)
    path = f"/a?apikey={SECRETS[0]}"
    async with serve(replies.get(kind, b"")) as served:
        base_url = served.base_url.replace("http://", "http://user:p4ssword@")
        if kind == "refused":
            base_url = f"http://user:p4ssword@127.0.0.1:{free_port()}"
        upstream = Upstream(
            "fake", f"{base_url}/v1?apikey=s3cret", timeout=0.2, max_connections=1, max_retries=0
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


async def test_a_stray_cancellation_does_not_cancel_the_call() -> None:
    def explode(_: httpx.Request) -> httpx.Response:
        raise asyncio.CancelledError

    upstream = stubbed(httpx.MockTransport(explode))
    with pytest.raises(RuntimeError, match="waited for something that was cancelled"):
        await upstream.get("/")
    async with upstream.open():
        with pytest.raises(RuntimeError, match="waited for something that was cancelled"):
            await upstream.get("/")


async def test_a_compressed_reply_is_decoded_once() -> None:
    reply = http_reply(gzip.compress(b"hello"), "Content-Encoding: gzip")
    async with serve(reply) as served:
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
async def test_an_unsuccessful_status_is_an_error(status: str, error: type[UpstreamError]) -> None:
    async with serve(http_reply(b"secret", "Location: /elsewhere", status=status)) as served:
        with pytest.raises(error) as caught:
            await connect(served).get("/")

    assert str(caught.value) == f"fake answered {status[:3]}"
    assert caught.value.upstream == "fake"
    assert len(served.heads) == 1, "the redirect was followed, or the call was retried"


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_refused_connection_is_unavailable_and_no_timeout(scheme: str) -> None:
    async with serve(b"") as served:
        pass
    served.base_url = served.base_url.replace("http", scheme)
    upstream = connect(served)
    with pytest.raises(UpstreamUnavailable):
        await upstream.get("/")


async def test_a_compressed_reply_within_the_limit_is_complete() -> None:
    async with serve() as served, calling(served, max_response_bytes=BOMB) as upstream:
        response = await upstream.get("/bomb")

    assert response.content == b"x" * BOMB
    assert response.headers.get("content-length", str(BOMB)) == str(BOMB)


async def test_the_error_has_the_retry_after_of_a_busy_upstream() -> None:
    async with serve() as served, calling(served) as upstream:
        with pytest.raises(UpstreamUnavailable) as raised:
            await upstream.get("/try-later")

    assert raised.value.retry_after == 60


async def test_a_bug_in_the_transport_is_raised_unchanged() -> None:
    def explode(_: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    upstream = stubbed(httpx.MockTransport(explode))
    with pytest.raises(ZeroDivisionError):
        await upstream.get("/")
