"""Cached replies: for how long, for whom, and where."""

import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
from fakeredis import TcpFakeServer
from hishel import AsyncRedisStorage
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from upstreams._cache import open_cache
from upstreams._errors import UpstreamUnavailable
from upstreams._upstream import Upstream

from . import helpers
from .fake_upstream import FakeUpstream, http_reply, serve
from .helpers import free_port

pytestmark = pytest.mark.anyio

FOR_A_MINUTE = "Cache-Control: max-age=60"


@pytest.fixture
def redis() -> Iterator[str]:
    """Return the URL of a Redis server."""
    server = TcpFakeServer(("127.0.0.1", 0), server_type="redis")
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"redis://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["memory", "redis"])
def redis_url(request: pytest.FixtureRequest) -> str | None:
    """Return where replies are kept: in memory, or in Redis."""
    return str(request.getfixturevalue("redis")) if request.param == "redis" else None


def calling(served: FakeUpstream, redis_url: str | None) -> AbstractAsyncContextManager[Upstream]:
    """Open a client that keeps replies."""
    cache = partial(open_cache, redis_url)
    return helpers.calling(served, max_retries=0, breaker_failures=1, cache=cache)


async def test_a_reply_is_reused_within_its_max_age(redis_url: str | None) -> None:
    async with (
        serve(http_reply(b"hello", FOR_A_MINUTE)) as served,
        calling(served, redis_url) as upstream,
    ):
        replies = [(await upstream.get("/")).text for _ in range(3)]
        await upstream.get("/other")

    assert replies == ["hello"] * 3
    assert len(served.heads) == 2


@pytest.mark.parametrize(
    "cache_control", ["no-store", "private, max-age=60", "max-age=0", "no-cache"]
)
async def test_a_reply_that_forbids_reuse_is_not_reused(
    redis_url: str | None, cache_control: str
) -> None:
    async with (
        serve(http_reply(b"hello", f"Cache-Control: {cache_control}")) as served,
        calling(served, redis_url) as upstream,
    ):
        for _ in range(2):
            await upstream.get("/")

    assert len(served.heads) == 2


async def test_a_reply_to_a_request_with_authorization_is_not_reused(redis_url: str | None) -> None:
    async with (
        serve(http_reply(b"hello", FOR_A_MINUTE)) as served,
        calling(served, redis_url) as upstream,
    ):
        for user in ("alice", "alice", "bob"):
            await upstream.get("/", headers={"Authorization": user})

    assert len(served.heads) == 3


async def test_replies_that_vary_by_a_header_are_cached_separately(redis_url: str | None) -> None:
    async with (
        serve(http_reply(b"hello", FOR_A_MINUTE, "Vary: X-Tenant")) as served,
        calling(served, redis_url) as upstream,
    ):
        for tenant in ("a", "b", "a"):
            await upstream.get("/", headers={"X-Tenant": tenant})

    assert len(served.heads) == 2


async def test_a_stale_reply_is_revalidated(redis_url: str | None) -> None:
    replies = [
        http_reply(b"hello", "Cache-Control: no-cache", 'ETag: "1"'),
        http_reply(b"", 'ETag: "1"', status="304 Not Modified"),
    ]
    async with serve(b"") as served, calling(served, redis_url) as upstream:
        served.plan.extend(replies)
        first, second = await upstream.get("/"), await upstream.get("/")

    assert (first.text, second.text) == ("hello", "hello")
    assert second.status_code == 200
    assert 'if-none-match: "1"' in served.heads[1].lower()


async def test_a_cached_reply_is_used_while_the_breaker_is_open(redis_url: str | None) -> None:
    async with serve(b"") as served, calling(served, redis_url) as upstream:
        served.plan.extend([http_reply(b"hello", FOR_A_MINUTE), http_reply(b"", status="503 Oh")])
        await upstream.get("/")
        with pytest.raises(UpstreamUnavailable):
            await upstream.get("/other")
        assert upstream.breaker.state == "open"

        assert (await upstream.get("/")).text == "hello"


async def test_an_error_is_not_cached(redis_url: str | None) -> None:
    async with serve(b"") as served, calling(served, redis_url) as upstream:
        failed = http_reply(b"", FOR_A_MINUTE, status="404 Not Found")
        served.plan.extend([failed, http_reply(b"hello", FOR_A_MINUTE)])
        with pytest.raises(Exception, match="answered 404"):
            await upstream.get("/")

        assert (await upstream.get("/")).text == "hello"


async def test_replicas_share_the_replies_in_redis(redis: str) -> None:
    async with serve(http_reply(b"hello", FOR_A_MINUTE)) as served:
        for _ in range(2):
            async with calling(served, redis) as upstream:
                assert (await upstream.get("/")).text == "hello"

    assert len(served.heads) == 1


async def test_without_redis_calls_go_to_the_upstream_and_one_line_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        serve(http_reply(b"hello", FOR_A_MINUTE)) as served,
        calling(served, f"redis://user:s3cret@127.0.0.1:{free_port()}") as upstream,
    ):
        replies = [(await upstream.get("/")).text for _ in range(5)]
        shown = repr(upstream)

    assert replies == ["hello"] * 5
    assert len(served.heads) == 5
    [record] = caplog.records
    assert record.exc_info is None
    assert record.getMessage().startswith("the Redis of the cache fails (ConnectionError)")
    assert "s3cret" not in shown + caplog.text


async def test_each_failure_and_each_return_of_redis_is_logged(
    caplog: pytest.LogCaptureFixture, redis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., Awaitable[object]] = Redis.execute_command
    answers = {"now": True}

    async def execute(self: Redis, *arguments: object, **options: object) -> object:
        if not answers["now"]:
            raise RedisConnectionError
        return await real(self, *arguments, **options)

    monkeypatch.setattr(Redis, "execute_command", execute)
    async with serve(http_reply(b"hello")) as served, calling(served, redis) as upstream:
        for answers["now"] in (True, False, False, True, True, False):
            await upstream.get("/")

    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "the Redis of the cache fails (ConnectionError)",
        "the Redis of the cache answers again",
        "the Redis of the cache fails (ConnectionError)",
    ]


async def test_other_warnings_of_the_redis_storage_are_still_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serve(http_reply(b"hello")) as served, calling(served, "redis://127.0.0.1:1"):
        logging.getLogger(AsyncRedisStorage.__module__).warning("an entry cannot be decoded")

    assert [record.getMessage() for record in caplog.records] == ["an entry cannot be decoded"]
