"""Streamed replies: their limits, the slots that they hold, and their errors."""

import asyncio
from typing import Any

import httpx
import pytest
from upstreams import (
    Upstream,
    UpstreamBusy,
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
    within,
)

from .fake_upstream import BODY, BOMB, CHUNKED, Connection, http_reply, serve
from .helpers import calling, connect

pytestmark = pytest.mark.anyio


async def read(upstream: Upstream, path: str, **options: Any) -> bytes:  # noqa: ANN401
    async with upstream.stream("GET", path, **options) as response:
        return b"".join([part async for part in response.aiter_bytes()])


async def test_parts_arrive_while_the_upstream_is_still_sending() -> None:
    go_on = asyncio.Event()

    async def two_parts(connection: Connection) -> None:
        connection.write(CHUNKED + b"4\r\none\n\r\n")
        await go_on.wait()
        connection.write(b"4\r\ntwo\n\r\n0\r\n\r\n")

    async with (
        serve(two_parts) as served,
        calling(served) as upstream,
        upstream.stream("GET", "/") as response,
    ):
        lines = response.aiter_lines()
        assert await anext(lines) == "one"
        go_on.set()
        assert [line async for line in lines] == ["two"]


@pytest.mark.parametrize("path", ["/200", "/gzip", "/huge", "/bomb"])
async def test_a_body_is_decoded_and_has_no_limit_of_size(path: str) -> None:
    async with serve() as served, calling(served, max_response_bytes=1000) as upstream:
        body = await read(upstream, path)

    assert body == {"/huge": b"x" * BOMB, "/bomb": b"x" * BOMB, "/200": b""}.get(path, BODY)


async def test_a_bomb_is_decoded_in_small_parts() -> None:
    async with (
        serve() as served,
        calling(served) as upstream,
        upstream.stream("GET", "/bomb") as response,
    ):
        sizes = [len(part) async for part in response.aiter_bytes()]
        assert "Content-Encoding" not in response.headers
        assert "Content-Length" not in response.headers

    assert max(sizes) <= 64 * 1024


async def test_a_stream_may_have_a_limit_of_size() -> None:
    async with serve() as served, calling(served) as upstream:
        for path in ("/huge", "/bomb", "/endless"):
            with pytest.raises(UpstreamInvalid, match="sent more than 1000 bytes"):
                await read(upstream, path, max_bytes=1000)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("reset-in-the-body", UpstreamUnavailable),
        ("truncate", UpstreamUnavailable),
        ("bad-chunk", UpstreamInvalid),
        ("cut-gzip", UpstreamInvalid),
        ("br", UpstreamInvalid),
        ("no-gzip", UpstreamInvalid),
        ("404", UpstreamRejected),
        ("503", UpstreamUnavailable),
        ("hang-up", UpstreamUnavailable),
        ("not-http", UpstreamInvalid),
    ],
)
async def test_a_fault_in_the_header_or_in_the_body_is_a_typed_error(
    fault: str, error: type[UpstreamError]
) -> None:
    async with serve() as served, calling(served, max_connections=1) as upstream:
        with pytest.raises(error) as raised:
            await read(upstream, f"/{fault}?secret")
        assert await read(upstream, "/") == BODY, "the slot was not released"

    assert raised.value.upstream == "fake"
    assert "secret" not in str(vars(raised.value))


async def test_the_deadline_applies_to_the_header_and_the_read_timeout_to_the_body() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def late(connection: Connection) -> None:
        connection.write(CHUNKED + b"3\r\none\r\n")
        begun.set()
        await go_on.wait()
        connection.write(b"3\r\ntwo\r\n0\r\n\r\n")

    async with serve(late) as served, calling(served) as upstream:
        with within(60) as deadline:
            async with upstream.stream("GET", "/", read_timeout=20) as response:
                deadline.ends_at = 0
                with within(0):
                    go_on.set()
                    assert await response.aread() == b"onetwo"
        go_on.clear()
        with pytest.raises(UpstreamTimeout, match="stalled within its reply"):
            await read(upstream, "/", read_timeout=0.05)
    async with serve() as served, calling(served) as upstream:
        with pytest.raises(UpstreamTimeout, match="did not answer in time"):
            await read(upstream, "/hang", timeout=0.05)


async def test_a_stream_holds_its_slot_until_the_block_ends() -> None:
    async with serve() as served, calling(served, max_connections=1) as upstream:
        async with upstream.stream("GET", "/") as response:
            await response.aread()
            with pytest.raises(UpstreamBusy):
                await upstream.get("/other", timeout=0.05)
        await upstream.get("/other")


async def leave_early(upstream: Upstream) -> None:
    async with upstream.stream("GET", "/endless") as response:
        await anext(response.aiter_bytes())
        raise ZeroDivisionError


async def test_an_early_exit_from_a_stream_closes_its_connection_and_frees_its_slot() -> None:
    async with serve() as served, calling(served, max_connections=1) as upstream:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await leave_early(upstream)
        await upstream.get("/")

    assert served.connections == 4


async def test_a_stream_is_retried_until_its_header_arrives() -> None:
    async with serve() as served, calling(served) as upstream:
        served.plan.extend(["503", "reset"])
        assert await read(upstream, "/") == BODY
        assert served.requests == 3

        async def once() -> Any:  # noqa: ANN401 - an asynchronous generator
            yield b"one"

        with pytest.raises(UpstreamUnavailable):
            async with upstream.stream("PUT", "/503", content=once()):
                pass
        assert served.requests == 4


async def test_a_cancelled_stream_releases_its_slot() -> None:
    async with serve() as served, calling(served, max_connections=1) as upstream:
        for turns in range(30):
            task = asyncio.create_task(read(upstream, "/endless"))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await upstream.get("/")


async def test_streams_are_never_shared_and_an_accepted_status_is_returned() -> None:
    async with serve() as served, calling(served) as upstream:
        await asyncio.gather(*(read(upstream, "/") for _ in range(3)))
        assert served.requests == 3
        async with upstream.stream("GET", "/404", accept={404}) as response:
            assert response.status_code == 404


async def test_without_a_pool_a_connection_lives_as_long_as_the_stream() -> None:
    async with serve() as served:
        assert await read(connect(served), "/") == BODY

    assert not served.open


async def test_a_reply_without_a_body_is_an_empty_stream() -> None:
    reply = http_reply(b"", "Content-Encoding: br")
    async with serve(reply) as served, calling(served) as upstream:
        async with upstream.stream("HEAD", "/") as response:
            assert await response.aread() == b""
        assert await read(upstream, "/") == b""


async def test_an_upload_and_a_download_can_be_one_stream() -> None:
    async def made() -> Any:  # noqa: ANN401 - an asynchronous generator
        yield b"one"
        yield b"two"

    async with (
        serve() as served,
        calling(served) as upstream,
        upstream.stream("POST", "/", content=made()) as response,
    ):
        assert isinstance(response, httpx.Response)
        assert await response.aread() == BODY

    assert served.bodies == [b"onetwo"]
