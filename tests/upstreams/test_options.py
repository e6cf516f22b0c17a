"""The options of a call behave as users of httpx expect: parameters, bodies, timeouts, statuses."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from upstreams import (
    BUDGET_HEADER,
    Upstream,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
    within,
)

from .fake_upstream import http_reply, serve
from .helpers import calling, connect, stubbed

pytestmark = pytest.mark.anyio

PARAMS: dict[str, Any] = {
    "text": {"a": "x y", "b": "&"},
    "numbers": {"page": 2, "share": 1.5},
    "booleans": {"deep": True, "old": False},
    "None": {"a": None},
    "lists": {"q": ["x", "y"], "page": "1"},
    "tuples": {"q": ("x", "y")},
    "pairs": [("q", "x"), ("q", "y"), ("n", 1)],
    "pairs in a tuple": (("q", "x"), ("q", "y")),
    "QueryParams": httpx.QueryParams([("q", "x"), ("q", "y")]),
    "a query": "q=x&q=y",
    "bytes": b"q=x%20y",
    "empty": {},
}


@pytest.mark.parametrize("params", PARAMS.values(), ids=PARAMS.keys())
async def test_parameters_are_sent_as_httpx_sends_them(params: Any) -> None:  # noqa: ANN401
    async with serve() as served:
        await connect(served).get("/items", params=params)

    expected = httpx.Request("GET", "http://fake/items", params=params).url.query.decode()
    assert served.targets[0] == "/items" + (f"?{expected}" if expected else "")


async def made() -> AsyncIterator[bytes]:
    for part in (b"one", b"two"):
        yield part
        await asyncio.sleep(0)


BODIES: dict[str, dict[str, Any]] = {
    "json": {"json": {"a": [1, "\u00e4"]}},
    "bytes": {"content": b"\x00\xff"},
    "text": {"content": "\u00e4"},
    "form": {"data": {"a": "x y", "b": ["1", "2"]}},
    "nothing": {},
    "multipart": {"files": {"file": ("a.txt", b"hello", "text/plain")}, "data": {"a": "1"}},
}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_a_body_is_sent_as_httpx_sends_it(method: str, body: Mapping[str, Any]) -> None:
    boundary = {"Content-Type": "multipart/form-data; boundary=b"} if "files" in body else {}
    async with serve() as served, calling(served) as upstream:
        call = getattr(upstream, method.lower())
        response = await call("/", headers=boundary, **body)

    sent = httpx.Request(method, "http://fake/", headers=boundary, **body)
    assert response.is_success
    assert served.bodies == [sent.read()]
    for name in ("Content-Type", "Content-Length"):
        [value] = served.headers(name)
        assert value == sent.headers.get(name, "0" if name == "Content-Length" else None)


async def test_an_async_body_is_streamed() -> None:
    async with serve() as served, calling(served) as upstream:
        await upstream.post("/", content=made())
        await upstream.post("/", content=made(), headers={"Content-Length": "6"})

    assert served.bodies == [b"onetwo", b"onetwo"]
    assert served.headers("Transfer-Encoding") == ["chunked", None]
    assert served.headers("Content-Type") == [None, None]


@pytest.mark.parametrize(
    ("body", "tries"),
    [
        ({"content": b"x"}, 3),
        ({"json": 1}, 3),
        ({"data": {"a": "1"}}, 3),
        ({}, 3),
        ({"files": {"file": io.BytesIO(b"hello")}}, 1),
    ],
    ids=["bytes", "json", "form", "nothing", "files"],
)
async def test_a_repeatable_body_is_retried(body: Mapping[str, Any], tries: int) -> None:
    async with serve() as served, calling(served) as upstream:
        with pytest.raises(UpstreamUnavailable):
            await upstream.put("/503", **body)

    assert served.requests == tries
    assert len(set(served.bodies)) == 1


async def test_an_async_body_is_not_retried() -> None:
    async with serve() as served, calling(served) as upstream:
        with pytest.raises(UpstreamUnavailable):
            await upstream.put("/503", content=made())

    assert served.requests == 1


async def test_an_error_of_the_body_is_raised_and_does_not_open_the_breaker() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"one"
        message = "the disk is full"
        raise OSError(message)

    async with serve() as served, calling(served, breaker_failures=1) as upstream:
        with pytest.raises(OSError, match="the disk is full"):
            await upstream.put("/", content=broken())
        assert upstream.breaker.state == "closed"
        await upstream.get("/")


async def test_a_body_that_would_block_the_loop_is_refused() -> None:
    body: Any = iter([b"one"])
    async with serve() as served, calling(served) as upstream:
        with pytest.raises(TypeError, match="synchronous iterator"):
            await upstream.post("/", content=body)

    assert served.requests == 0


HEADERS: dict[str, Any] = {
    "mapping": {"X-A": "1", "accept": "text/csv"},
    "pairs": [("X-A", "1"), ("accept", "text/csv")],
    "Headers": httpx.Headers({"X-A": "1", "accept": "text/csv"}),
    "bytes": {b"X-A": b"1", b"accept": b"text/csv"},
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS.keys())
async def test_headers_are_accepted_in_every_form_of_httpx(headers: Any) -> None:  # noqa: ANN401
    async with serve() as served, calling(served) as upstream:
        await upstream.get("/", headers=headers)

    assert (served.headers("X-A"), served.headers("Accept")) == (["1"], ["text/csv"])


# Timeouts


async def test_the_timeout_of_a_call_ends_it_and_is_sent_to_the_upstream() -> None:
    async with serve() as served, calling(served, timeout=60) as upstream:
        with pytest.raises(UpstreamTimeout):
            await upstream.get("/hang", timeout=0.05)
        await upstream.get("/", timeout=30)
        with within(10):
            await upstream.get("/", timeout=30)

    budgets = [int(value or "") for value in served.headers(BUDGET_HEADER)]
    assert 20_000 < budgets[-2] <= 30_000
    assert budgets[-1] <= 10_000
    assert all(each <= 50 for each in budgets[:-2]), (
        "the first call's budget, if it was sent in time"
    )


async def test_short_timeouts_of_some_calls_do_not_open_the_breaker_or_count_as_latencies() -> None:
    async with serve() as served, calling(served, timeout=60, breaker_failures=1) as upstream:
        for number in range(5):
            with pytest.raises(UpstreamTimeout):
                await upstream.get(f"/hang?{number}", timeout=0.01)
        await upstream.get("/", timeout=30)

        assert upstream.breaker.state == "closed"
        assert not upstream._latencies._seconds  # noqa: SLF001


@pytest.mark.parametrize(("timeout", "connect"), [(0.01, 30), (None, 30), (60, 30), (100, 50)])
def test_a_short_timeout_does_not_shorten_the_connect_timeout(
    timeout: float | None, connect: float
) -> None:
    upstream = stubbed(httpx.MockTransport(lambda _: httpx.Response(200)), timeout=60)
    call = upstream._call("GET", "/", {"timeout": timeout})  # noqa: SLF001

    assert call.request.extensions["timeout"]["connect"] == connect


async def test_calls_with_different_timeouts_are_not_shared() -> None:
    async with serve() as served, calling(served) as upstream:
        calls = [upstream.get("/held", timeout=timeout) for timeout in (30, 40, None, 30)]
        tasks = [asyncio.create_task(call) for call in calls]
        await served.reached(3)
        served.held.set()
        await asyncio.gather(*tasks)

    assert served.requests == 3


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
async def test_an_invalid_timeout_is_refused(timeout: float) -> None:  # noqa: ASYNC109
    upstream = stubbed(httpx.MockTransport(lambda _: httpx.Response(200)))
    with pytest.raises(ValueError, match="a timeout is a number of seconds above 0"):
        await upstream.get("/", timeout=timeout)
    with pytest.raises(ValueError, match="a timeout is a number of seconds above 0"):
        Upstream("fake", "http://fake.invalid", timeout=timeout, max_connections=1)


# Statuses


@pytest.mark.parametrize("status", [302, 304, 404, 409, 410, 429, 500, 503])
async def test_an_accepted_status_is_a_reply_like_any_other(status: int) -> None:
    async with serve() as served, calling(served, breaker_failures=1) as upstream:
        response = await upstream.get(f"/{status}", accept={status})
        posted = await upstream.post(f"/{status}", accept=[status])

        assert response.status_code == posted.status_code == status
        assert upstream.breaker.state == "closed"
        assert served.requests == 2


async def test_an_accepted_status_counts_as_an_answer_for_the_breaker() -> None:
    async with serve() as served, calling(served, breaker_failures=2, max_retries=0) as upstream:
        for _ in range(4):
            with pytest.raises(UpstreamUnavailable):
                await upstream.get("/reset")
            await upstream.get("/404", accept={404})

        assert upstream.breaker.state == "closed"


async def test_other_statuses_are_raised_and_calls_with_different_accept_are_not_shared() -> None:
    async with serve() as served, calling(served) as upstream:
        served.plan.extend(["404", "404"])
        accepting, raising = await asyncio.gather(
            upstream.get("/", accept={404}), upstream.get("/"), return_exceptions=True
        )
        with pytest.raises(UpstreamRejected):
            await upstream.get("/404", accept={410})

    assert isinstance(accepting, httpx.Response)
    assert isinstance(raising, UpstreamRejected)


async def test_an_accepted_reply_has_its_body_and_its_request() -> None:
    missing = http_reply(b'{"error": "none"}', status=404)
    async with serve(missing) as served, calling(served) as upstream:
        response = await upstream.get("/", accept={404})

    assert response.json() == json.loads(b'{"error": "none"}')
    assert response.request.method == "GET"
    with pytest.raises(httpx.HTTPStatusError):
        response.raise_for_status()
