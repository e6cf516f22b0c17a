"""Calls of an upstream: retries, breaker, sharing, time limits, and the headers sent."""

import asyncio
from contextvars import Context

import httpx
import pytest
from upstreams import (
    BUDGET_HEADER,
    DeadlineExceeded,
    UpstreamBusy,
    UpstreamTimeout,
    UpstreamUnavailable,
    fan_out,
    within,
)

from .fake_upstream import http_reply, serve
from .helpers import calling, connect

pytestmark = pytest.mark.anyio


async def test_a_call_without_a_free_connection_is_not_sent() -> None:
    async with (
        serve() as served,
        calling(served, max_connections=1, breaker_failures=1) as upstream,
    ):
        busy = asyncio.create_task(upstream.get("/held"))
        await served.reached(1)
        with pytest.raises(UpstreamBusy, match="had no connection free in time"):
            await upstream.get("/", timeout=0.1)
        assert upstream.breaker.state == "closed"
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)

    assert served.requests == 1


async def test_a_transient_fault_is_retried() -> None:
    async with serve() as served, calling(served) as upstream:
        served.plan.extend(["reset", "503"])
        response = await upstream.get("/")

    assert response.status_code == 200
    assert served.requests == 3


@pytest.mark.parametrize(
    ("method", "requests"), [("PUT", 3), ("DELETE", 3), ("POST", 1), ("PATCH", 1)]
)
async def test_only_idempotent_methods_are_retried(method: str, requests: int) -> None:
    async with serve() as served, calling(served) as upstream:
        with pytest.raises(UpstreamUnavailable):
            await upstream.request(method, "/503", json={"a": 1})

    assert served.requests == requests


@pytest.mark.parametrize("hedge", [False, True])
async def test_retries_and_hedges_add_less_than_a_fifth_in_an_outage(hedge: object) -> None:
    async with (
        serve() as served,
        calling(served, breaker_failures=10_000, max_connections=50) as upstream,
    ):
        for _ in range(20):  # latencies, which a hedge needs
            await upstream.get("/")
        result = await fan_out(
            lambda number: upstream.get(f"/503?{number}", hedge=bool(hedge)),
            range(500),
            deadline=30,
            max_concurrency=20,
        )

    assert {type(error) for error in result.failed.values()} == {UpstreamUnavailable}
    assert len(result.failed) == 500
    assert 520 * 1.15 < served.requests <= 520 * 1.19 + 10


async def test_a_failing_upstream_is_not_called_until_a_probe_succeeds() -> None:
    async with (
        serve() as served,
        calling(served, breaker_failures=3, max_retries=0) as upstream,
    ):
        for _ in range(10):
            with pytest.raises(UpstreamUnavailable):
                await upstream.get("/reset")
        assert (served.requests, upstream.breaker.state) == (3, "open")

        upstream.breaker._all._probe_at = 0  # noqa: SLF001 - instead of waiting until then
        served.plan.append("held")
        probe = asyncio.create_task(upstream.get("/probe"))
        await served.reached(4)
        others = [upstream.get(f"/{number}") for number in range(50)]
        outcomes = await asyncio.gather(*others, return_exceptions=True)
        served.held.set()
        await probe

        assert {type(each) for each in outcomes} == {UpstreamUnavailable}
        assert served.requests == 4
        assert upstream.breaker.state == "closed"


async def test_calls_that_hang_for_their_whole_timeout_open_the_breaker() -> None:
    async with (
        serve() as served,
        calling(served, timeout=0.1, breaker_failures=3) as upstream,
    ):
        calls = [
            asyncio.create_task(upstream.get(f"/hang?{number}"), context=Context())
            for number in range(3)  # each in a separate request
        ]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert {type(error) for error in outcomes} == {UpstreamTimeout}
    assert upstream.breaker.state == "open"


@pytest.mark.parametrize("coalesce", [True, False], ids=["shared", "not shared"])
async def test_calls_cut_off_by_their_requests_deadline_do_not_open_the_breaker(
    coalesce: object,
) -> None:
    async with (
        serve() as served,
        calling(served, breaker_failures=3, coalesce=bool(coalesce)) as upstream,
    ):
        for _ in range(5):
            result = await fan_out(
                upstream.get, ["/hang?1", "/hang?2", "/hang?3"], deadline=0.02, max_concurrency=3
            )
            assert {type(error) for error in result.failed.values()} == {DeadlineExceeded}

    assert upstream.breaker.state == "closed"


async def test_cancelled_calls_do_not_open_the_breaker() -> None:
    async with serve() as served, calling(served, breaker_failures=3) as upstream:
        calls = [asyncio.create_task(upstream.get(f"/hang?{number}")) for number in range(5)]
        await served.reached(5)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    assert upstream.breaker.state == "closed"


async def test_a_hanging_call_is_hedged_and_then_cancelled() -> None:
    async with serve() as served, calling(served) as upstream:
        for _ in range(20):
            await upstream.get("/")
        served.plan.append("hang")
        response = await upstream.get("/hedged", hedge=True)
        async with asyncio.timeout(5):
            while served.inside:  # noqa: ASYNC110 - until the upstream has noticed
                await asyncio.sleep(0.001)

    assert response.status_code == 200
    assert served.requests == 22


async def test_concurrent_identical_calls_are_one_request() -> None:
    async with serve() as served, calling(served) as upstream:
        calls = [asyncio.create_task(upstream.get("/held")) for _ in range(10)]
        calls.append(asyncio.create_task(upstream.get("/held", headers={"Authorization": "a"})))
        calls.append(asyncio.create_task(upstream.get("/held", headers={"Authorization": "b"})))
        calls.append(asyncio.create_task(upstream.get("/held", params={"page": "2"})))
        await served.reached(4)
        served.held.set()
        replies = await asyncio.gather(*calls)

    assert {reply.status_code for reply in replies} == {200}
    assert served.requests == 4


async def test_sharing_can_be_switched_off() -> None:
    async with serve() as served, calling(served, coalesce=False) as upstream:
        calls = [asyncio.create_task(upstream.get("/held")) for _ in range(3)]
        await served.reached(3)
        served.held.set()
        await asyncio.gather(*calls)


async def test_a_call_gets_and_sends_the_remaining_time_of_its_request() -> None:
    async with serve() as served, calling(served, timeout=60) as upstream:
        await upstream.get("/")
        with within(5):
            await upstream.get("/")
        with within(0.05), pytest.raises(DeadlineExceeded):
            await upstream.get("/hang")
        with within(0), pytest.raises(DeadlineExceeded):
            await upstream.get("/")

    left = [int(value or "") for value in served.headers(BUDGET_HEADER)]
    assert 50_000 < left[0] <= 60_000
    assert 4_000 < left[1] <= 5_000
    assert 0 <= left[2] <= 50
    assert served.requests == 3


async def test_retries_end_with_the_deadline() -> None:
    async with serve() as served, calling(served, max_retries=10_000) as upstream:
        with within(0.2), pytest.raises((UpstreamUnavailable, DeadlineExceeded)):
            async with asyncio.timeout(5):
                await upstream.get("/503")

    assert served.requests < 20


async def test_a_parameter_may_have_several_values() -> None:
    async with serve(http_reply(b"")) as served:
        await connect(served).get("/", params=httpx.QueryParams([("q", "x"), ("q", "y")]))

    [head] = served.heads
    assert head.startswith("GET /?q=x&q=y HTTP/1.1\r\n")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_given_header_replaces_the_default(method: str) -> None:
    given = {"Host": "prices.example.com", "accept": "text/csv"}
    async with serve(http_reply(b"")) as served:
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


async def test_a_call_never_has_a_cookie_of_an_earlier_call() -> None:
    async with serve(http_reply(b"", "Set-Cookie: user=alice; Path=/")) as served:
        # By name, because aiohttp's jar never takes a cookie from an address.
        served.base_url = served.base_url.replace("127.0.0.1", "localhost")
        upstream = connect(served)
        async with upstream.open():
            await upstream.get("/")
            await upstream.get("/")

    assert served.connections == 1
    assert not any("alice" in head for head in served.heads)
