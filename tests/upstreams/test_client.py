"""A plain `httpx.AsyncClient` over the pool, as an SDK uses one."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import anysqlite
import httpx
import pytest
from hishel import AsyncSqliteStorage
from hishel.httpx import AsyncCacheTransport
from upstreams import within

from .fake_upstream import BODY, Connection, http_reply, serve
from .helpers import calling, connect

pytestmark = pytest.mark.anyio


class Shop:
    """An SDK: it takes a client, and knows nothing of upstreams."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def items(self) -> AsyncIterator[str]:
        """Follow the pages, by relative and by absolute links."""
        page: str | None = "/items"
        while page is not None:
            response = await self._client.get(page)
            response.raise_for_status()
            listed: dict[str, Any] = response.json()
            for item in listed["items"]:
                yield item
            page = listed["next"]

    async def lines(self) -> list[str]:
        """Read a stream."""
        async with self._client.stream("GET", "/lines") as response:
            response.raise_for_status()
            return [line async for line in response.aiter_lines()]

    async def order(self, item: str) -> int:
        """Post, and take a conflict for an answer."""
        response = await self._client.post("/orders", json={"item": item})
        if response.status_code == httpx.codes.CONFLICT:
            return 0
        response.raise_for_status()
        return int(response.json()["number"])


def page(items: list[str], following: str | None) -> bytes:
    return http_reply(json.dumps({"items": items, "next": following}).encode())


async def test_an_sdk_pages_streams_and_handles_errors() -> None:
    async with serve() as served, calling(served) as upstream:
        shop = Shop(upstream.client())
        served.plan.extend(
            [
                page(["a", "b"], "/items?page=2"),
                page(["c"], f"{served.base_url}/items?page=3"),
                page([], None),
                http_reply(gzip.compress(b"one\ntwo\n"), "Content-Encoding: gzip"),
                http_reply(b'{"number": 7}', status=201),
                "409",
                "503",
            ]
        )
        assert [item async for item in shop.items()] == ["a", "b", "c"]
        assert await shop.lines() == ["one", "two"]
        assert await shop.order("a") == 7
        assert await shop.order("b") == 0
        with pytest.raises(httpx.HTTPStatusError):
            await shop.order("c")

    assert served.targets[:3] == ["/items", "/items?page=2", "/items?page=3"]
    assert served.bodies[4] == b'{"item":"a"}'
    assert served.connections == 1
    assert served.requests == 7, "a call of the SDK was retried"


async def test_a_client_sends_the_query_and_credentials_of_the_base_url_with_every_page() -> None:
    async with serve() as served:
        origin = served.base_url
        served.base_url = origin.replace("http://", "http://user:pass@") + "/v1?key=1"
        async with calling(served, pass_on=lambda: [("X-Request-ID", "42")]) as upstream:
            client = upstream.client()
            await client.get("/items", params={"page": "2"})
            await client.get(f"{origin}/v1/items?page=3&key=1")
            await client.get("/items", headers={"X-Request-ID": "7"})

    assert served.targets == ["/v1/items?key=1&page=2", "/v1/items?page=3&key=1", "/v1/items?key=1"]
    assert served.headers("Authorization") == ["Basic dXNlcjpwYXNz"] * 3
    assert served.headers("X-Request-ID") == ["42", "42", "7"]


async def test_another_host_gets_neither_query_nor_credentials() -> None:
    async with serve() as other, serve() as served:
        served.plan.append(http_reply(b"", f"Location: {other.base_url}/x", status=302))
        served.base_url = served.base_url.replace("http://", "http://user:pass@") + "?key=1"
        async with calling(served, pass_on=lambda: [("X-User", "alice")]) as upstream:
            response = await upstream.client().get("/", follow_redirects=True)

    assert response.content == BODY
    assert other.targets == ["/x"]
    assert other.headers("Authorization") == other.headers("X-User") == [None]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("hang-up", httpx.RemoteProtocolError),
        ("reset", httpx.ReadError),
        ("truncate", httpx.RemoteProtocolError),
        ("not-http", httpx.RemoteProtocolError),
        ("hang", httpx.ReadTimeout),
        ("huge", httpx.DecodingError),
        ("bomb", httpx.DecodingError),
        ("br", httpx.DecodingError),
        ("cut-gzip", httpx.DecodingError),
    ],
)
async def test_a_fault_raises_the_matching_error_of_httpx(
    fault: str, error: type[httpx.HTTPError]
) -> None:
    async with (
        serve() as served,
        calling(served, max_connections=1, max_response_bytes=1000) as upstream,
        upstream.client() as client,
    ):
        with pytest.raises(error):
            await client.get(f"/{fault}", timeout=httpx.Timeout(20, read=0.2))
        assert (await client.get("/")).content == BODY, "the slot was not released"
        assert upstream.breaker.state == "closed"


async def test_a_client_shares_slots_and_connections_with_its_upstream() -> None:
    async with serve() as served, calling(served, max_connections=1) as upstream:
        client = upstream.client()
        async with client.stream("GET", "/endless"):
            with pytest.raises(httpx.PoolTimeout):
                await client.get("/", timeout=httpx.Timeout(20, pool=0.02))
        await upstream.get("/")
        await client.get("/", timeout=20)

    assert served.connections == 2


async def test_the_deadline_of_the_request_applies_to_a_client() -> None:
    async with serve() as served, calling(served) as upstream:
        with within(0.05), pytest.raises(httpx.ReadTimeout, match="deadline"):
            await upstream.client().get("/hang")


async def test_a_client_stores_no_cookies_and_closing_it_leaves_the_pool_open() -> None:
    async with (
        serve(http_reply(b"", "Set-Cookie: user=alice")) as served,
        calling(served) as upstream,
    ):
        async with upstream.client() as client:
            await client.get("/")
            await client.get("/")
        await upstream.client().get("/")

    assert served.headers("Cookie") == [None] * 3
    assert served.connections == 1


async def test_a_client_streams_its_uploads() -> None:
    async def made() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with serve() as served, calling(served) as upstream:
        await upstream.client().post("/", content=made())
        await upstream.client().post("/", files={"f": b"hello"})

    assert served.bodies[0] == b"onetwo"
    assert b"hello" in served.bodies[1]


async def test_a_client_may_have_a_larger_limit_of_size_than_its_upstream() -> None:
    async with serve() as served, calling(served, max_response_bytes=1000) as upstream:
        response = await upstream.client(max_bytes=10**9).get("/huge")

    assert len(response.content) > 1_000_000


async def test_without_a_pool_a_connection_lives_as_long_as_its_reply() -> None:
    async with serve() as served:
        client = connect(served).client()
        assert (await client.get("/")).content == BODY
        async with client.stream("GET", "/") as response:
            assert await response.aread() == BODY

    assert served.connections == 2


async def test_cancelled_calls_release_their_slots() -> None:
    async with serve() as served, calling(served, max_connections=1) as upstream:
        client = upstream.client()
        for turns in range(30):
            task = asyncio.create_task(client.get("/trickle"))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await client.get("/")


async def test_a_library_can_wrap_the_transport_of_a_client() -> None:
    hits = 0

    async def count(connection: Connection) -> None:
        nonlocal hits
        hits += 1
        connection.write(http_reply(b"hello", "Cache-Control: max-age=60"))

    async with serve(count) as served, calling(served) as upstream:
        plain = upstream.client()
        storage = AsyncSqliteStorage(connection=await anysqlite.connect(":memory:"))
        cached = httpx.AsyncClient(
            base_url=plain.base_url,
            transport=AsyncCacheTransport(plain._transport, storage),  # noqa: SLF001
        )
        async with cached:
            replies = [(await cached.get("/")).text for _ in range(3)]

    assert replies == ["hello"] * 3
    assert hits == 1
