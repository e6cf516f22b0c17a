"""Pools: which connections are kept, on which loop; no connection is lost."""

import asyncio

import pytest
from upstreams import Upstream, UpstreamUnavailable, fan_out

from .fake_upstream import Connection, hang, http_reply, serve
from .helpers import calling, connect, free_port

pytestmark = pytest.mark.anyio


async def test_an_open_upstream_keeps_its_connection_for_the_next_call() -> None:
    async with serve(http_reply(b"hello")) as served:
        upstream = connect(served)
        async with upstream.open():
            replies = [(await upstream.get("/")).text for _ in range(3)]

    assert replies == ["hello"] * 3
    assert served.connections == 1


async def test_an_upstream_that_is_not_open_connects_for_each_call() -> None:
    async with serve(http_reply(b"hello")) as served:
        upstream = connect(served)
        replies = [(await upstream.get("/")).text for _ in range(3)]

    assert replies == ["hello"] * 3
    assert served.connections == 3


async def test_a_closed_upstream_can_still_be_called_and_opened_again() -> None:
    async with serve(http_reply(b"hello")) as served:
        upstream = connect(served)
        async with upstream.open():
            await upstream.get("/")
        replies = [await upstream.get("/")]
        async with upstream.open():
            replies += [await upstream.get("/"), await upstream.get("/")]

    assert [each.text for each in replies] == ["hello"] * 3
    assert served.connections == 3


async def test_another_event_loop_does_not_get_the_pooled_client() -> None:
    async with serve(http_reply(b"hello")) as served:
        upstream = connect(served)
        async with upstream.open():
            await upstream.get("/")
            elsewhere = await asyncio.to_thread(asyncio.run, upstream.get("/"))

    assert elsewhere.text == "hello"
    assert served.connections == 2


async def test_opening_twice_is_refused() -> None:
    upstream = Upstream("fake", "http://127.0.0.1", timeout=1, max_connections=1)
    async with upstream.open():
        with pytest.raises(RuntimeError, match="fake is open already"):
            async with upstream.open():
                pass


async def test_the_pool_never_exceeds_its_limit_of_connections() -> None:
    inside = most = 0

    async def count(writer: Connection) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.01)
        inside -= 1
        writer.write(http_reply(b""))

    async with serve(count) as served:
        upstream = connect(served, max_connections=2)
        async with upstream.open():
            await asyncio.gather(*(upstream.get(f"/{number}") for number in range(6)))

    assert most == 2


async def test_cancelled_calls_release_their_connections() -> None:
    stuck = True
    both = asyncio.Barrier(2)

    async def reply(writer: Connection) -> None:
        if stuck:
            await hang(writer)
        await both.wait()
        writer.write(http_reply(b"hello"))

    async with serve(reply) as served:
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


async def test_thousands_of_cancelled_calls_of_fan_outs_release_their_connections() -> None:
    async with (
        serve() as served,
        calling(served, max_connections=3, max_retries=0, coalesce=False) as upstream,
    ):
        before = asyncio.all_tasks()
        for number in range(400):
            call = asyncio.create_task(
                fan_out(
                    upstream.get, ["/", "/hang", "/trickle", "/503"], deadline=60, max_concurrency=4
                )
            )
            for _ in range(number % 40):  # before, while and after it connects, writes and reads
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        left = asyncio.all_tasks() - before
        calls = [asyncio.create_task(upstream.get("/held")) for _ in range(3)]
        await served.reached(served.requests + 1)
        served.held.set()
        replies = await asyncio.gather(*calls)

    assert not {task for task in left if "src/upstreams" in repr(task)}
    assert [reply.status_code for reply in replies] == [200] * 3


async def test_a_call_without_a_pool_is_retried() -> None:
    async with serve() as served:
        upstream = connect(served, max_retries=2)
        served.plan.extend(["reset", "503"])
        response = await upstream.get("/")

    assert response.status_code == 200
    assert served.requests == 3


def test_a_breaker_opened_on_one_loop_is_open_on_the_next_loop() -> None:
    upstream = Upstream(
        "nobody",
        f"http://127.0.0.1:{free_port()}",
        timeout=5,
        max_connections=1,
        breaker_failures=3,
        max_retries=0,
    )
    for _ in range(5):
        with pytest.raises(UpstreamUnavailable):
            asyncio.run(call_once(upstream))

    assert upstream.breaker.state == "open"


async def call_once(upstream: Upstream) -> None:
    await upstream.get("/")
