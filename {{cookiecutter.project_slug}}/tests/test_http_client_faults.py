"""An upstream that fails in every way, and what a caller, and it itself, get to see of that."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from upstreams._deadline import (
    BUDGET_HEADER,
    DeadlineExceeded,
    within,
)
from upstreams._errors import (
    UpstreamBusy,
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from upstreams._fan_out import fan_out
from upstreams._upstream import Upstream

from {{ cookiecutter.package_name }}.logs import ids_to_pass_on

from .faulty import BOMB, FaultyUpstream, serve_faulty, serve_silence
from .serving import free_port

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def calling(served: FaultyUpstream, **policy: Any) -> AsyncIterator[Upstream]:
    """Open a client of the served upstream."""
    policy = {"timeout": 5, "max_connections": 10} | policy
    upstream = Upstream("faulty", served.base_url, **policy)
    async with upstream.open():
        yield upstream


def header(head: str, name: str) -> str | None:
    """Return the value of a header of a request's head."""
    for line in head.split("\r\n"):
        if line.lower().startswith(f"{name.lower()}: "):
            return line.partition(": ")[2]
    return None


# What goes wrong, and what it is called


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
        ("not-http", UpstreamInvalid, 1),
        ("bad-chunk", UpstreamInvalid, 1),
        ("huge", UpstreamInvalid, 1),
        ("bomb", UpstreamInvalid, 1),
        ("endless", UpstreamInvalid, 1),
        ("hang", UpstreamTimeout, 1),
        ("trickle", UpstreamTimeout, 1),
    ],
)
async def test_each_fault_has_its_error_and_is_tried_again_only_if_that_may_help(
    fault: str, error: type[UpstreamError], requests: int
) -> None:
    timeout = 0.5 if error is UpstreamTimeout else 5
    async with (
        serve_faulty() as served,
        calling(served, timeout=timeout, max_connections=1, max_response_bytes=1000) as upstream,
    ):
        with pytest.raises(error) as raised:
            await upstream.get(f"/{fault}")
        # Whatever it was, the one connection is free again.
        upstream.timeout = 5
        await upstream.get("/")

    assert served.requests == requests + 1
    assert "127.0.0.1" not in str(raised.value)


async def test_a_silent_tls_server_times_out() -> None:
    async with serve_silence() as address:
        upstream = Upstream("silent", f"https://{address}", timeout=0.1, max_connections=1)
        with pytest.raises(UpstreamTimeout):
            await upstream.get("/")


async def test_a_call_that_gets_no_connection_times_out_without_reaching_anybody() -> None:
    async with (
        serve_faulty() as served,
        calling(served, timeout=60, max_connections=1, breaker_failures=1) as upstream,
    ):
        upstream._patience = 0.1  # noqa: SLF001
        busy = asyncio.create_task(upstream.get("/held"))
        await served.reached(1)
        with pytest.raises(UpstreamBusy, match="had no connection free in time"):
            await upstream.get("/")
        assert upstream.breaker.state == "closed"
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)

    assert served.requests == 1


async def test_a_fault_that_passes_is_not_seen() -> None:
    async with serve_faulty() as served, calling(served) as upstream:
        served.plan.extend(["reset", "503"])
        response = await upstream.get("/")

    assert response.status_code == 200
    assert served.requests == 3


@pytest.mark.parametrize(
    ("method", "requests"), [("PUT", 3), ("DELETE", 3), ("POST", 1), ("PATCH", 1)]
)
async def test_what_is_not_idempotent_is_tried_once(method: str, requests: int) -> None:
    async with serve_faulty() as served, calling(served) as upstream:
        with pytest.raises(UpstreamUnavailable):
            await upstream.request(method, "/503", json={"a": 1})

    assert served.requests == requests


async def test_a_reply_within_the_limit_is_whole_though_compressed() -> None:
    async with serve_faulty() as served, calling(served, max_response_bytes=BOMB) as upstream:
        response = await upstream.get("/bomb")

    assert response.content == b"x" * BOMB
    assert response.headers.get("content-length", str(BOMB)) == str(BOMB)


async def test_the_caller_learns_when_a_busy_upstream_wants_to_be_asked_again() -> None:
    async with serve_faulty() as served, calling(served) as upstream:
        with pytest.raises(UpstreamUnavailable) as raised:
            await upstream.get("/try-later")

    assert raised.value.retry_after == 60


# The load on it


@pytest.mark.parametrize("hedge", [False, True])
async def test_an_outage_never_gets_more_than_a_fifth_of_the_calls_on_top(hedge: object) -> None:
    async with (
        serve_faulty() as served,
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


async def test_an_upstream_that_only_fails_is_left_alone_until_a_probe_succeeds() -> None:
    async with (
        serve_faulty() as served,
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
        serve_faulty() as served,
        calling(served, timeout=0.5, breaker_failures=3) as upstream,
    ):
        calls = [
            asyncio.create_task(upstream.get(f"/hang?{number}"), context=Context())
            for number in range(3)  # each of a request of its own
        ]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert {type(error) for error in outcomes} == {UpstreamTimeout}
    assert upstream.breaker.state == "open"


@pytest.mark.parametrize("coalesce", [True, False], ids=["shared", "alone"])
async def test_calls_that_their_requests_deadline_cuts_off_do_not(coalesce: object) -> None:
    async with (
        serve_faulty() as served,
        calling(served, breaker_failures=3, coalesce=bool(coalesce)) as upstream,
    ):
        for _ in range(5):
            result = await fan_out(
                upstream.get, ["/hang?1", "/hang?2", "/hang?3"], deadline=0.02, max_concurrency=3
            )
            assert {type(error) for error in result.failed.values()} == {DeadlineExceeded}

    assert upstream.breaker.state == "closed"


async def test_clients_that_leave_do_not_open_the_breaker() -> None:
    async with serve_faulty() as served, calling(served, breaker_failures=3) as upstream:
        calls = [asyncio.create_task(upstream.get(f"/hang?{number}")) for number in range(5)]
        await served.reached(5)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    assert upstream.breaker.state == "closed"


async def test_a_call_that_hangs_is_made_once_more_and_the_first_one_ended() -> None:
    async with serve_faulty() as served, calling(served) as upstream:
        for _ in range(20):
            await upstream.get("/")
        served.plan.append("hang")
        response = await upstream.get("/hedged", hedge=True)
        async with asyncio.timeout(5):
            while served.inside:  # noqa: ASYNC110 - until the upstream has noticed
                await asyncio.sleep(0.001)

    assert response.status_code == 200
    assert served.requests == 22


# What identical calls share


async def test_identical_calls_at_once_are_one_request() -> None:
    async with serve_faulty() as served, calling(served) as upstream:
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
    async with serve_faulty() as served, calling(served, coalesce=False) as upstream:
        calls = [asyncio.create_task(upstream.get("/held")) for _ in range(3)]
        await served.reached(3)
        served.held.set()
        await asyncio.gather(*calls)


# Time


async def test_a_call_gets_what_its_request_has_left_and_says_so_to_the_upstream() -> None:
    async with serve_faulty() as served, calling(served, timeout=60) as upstream:
        await upstream.get("/")
        with within(5):
            await upstream.get("/")
        with within(0.05), pytest.raises(DeadlineExceeded):
            await upstream.get("/hang")
        with within(0), pytest.raises(DeadlineExceeded):
            await upstream.get("/")

    left = [int(header(head, BUDGET_HEADER) or "") for head in served.heads]
    assert 50_000 < left[0] <= 60_000
    assert 4_000 < left[1] <= 5_000
    assert 0 <= left[2] <= 50
    assert served.requests == 3


async def test_retries_end_with_the_deadline() -> None:
    async with serve_faulty() as served, calling(served, max_retries=10_000) as upstream:
        with within(0.2), pytest.raises((UpstreamUnavailable, DeadlineExceeded)):
            async with asyncio.timeout(5):
                await upstream.get("/503")

    assert served.requests < 20


# What goes along


async def test_the_ids_of_the_request_and_what_it_has_left_go_along(
    app: Flask, client: FlaskClient
) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    tracing = {"traceparent": traceparent, "tracestate": "a=1,b@c=2"}
    sent = {"X-Request-ID": "abc", **tracing}
    async with serve_faulty() as served:
        upstream = Upstream(
            "faulty", served.base_url, timeout=5, max_connections=1, pass_on=ids_to_pass_on
        )

        @app.get("/call")
        async def call() -> str:
            with within(1):
                await upstream.get("/")
            return ""

        await asyncio.to_thread(client.get, "/call", headers=sent)

    assert header(served.heads[0], "X-Request-ID") == "abc"
    assert {name: header(served.heads[0], name) for name in tracing} == tracing
    assert int(header(served.heads[0], BUDGET_HEADER) or "") <= 1000


# Callers that leave


async def test_thousands_of_cancelled_fan_outs_leave_the_pool_whole() -> None:
    async with (
        serve_faulty() as served,
        calling(served, max_connections=3, max_retries=0, coalesce=False) as upstream,
    ):
        before = asyncio.all_tasks()
        for number in range(2000):
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

    assert not {task for task in left if "upstream" in repr(task)}
    assert [reply.status_code for reply in replies] == [200] * 3


# Elsewhere than under a lifespan


async def test_without_a_pool_it_fails_and_tries_again_in_the_same_way() -> None:
    async with serve_faulty() as served:
        upstream = Upstream("faulty", served.base_url, timeout=5, max_connections=1)
        served.plan.extend(["reset", "503"])
        response = await upstream.get("/")

    assert response.status_code == 200
    assert served.requests == 3


def test_a_breaker_opened_on_one_loop_holds_on_the_next() -> None:
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
