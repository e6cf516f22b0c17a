"""No call, however it ends, leaves objects for the garbage collector.

A program may tune the collector to run rarely. Until then the objects that only it frees pile up:
an error with its traceback holds the frames of its call, and with them the request and the reply.
"""

import asyncio
import sys
import types
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from upstreams import _retries as retries
from upstreams._deadline import within
from upstreams._errors import UpstreamError, UpstreamTimeout
from upstreams._fan_out import Calls, fan_out
from upstreams._hedging import hedged
from upstreams._upstream import Upstream

from . import helpers
from .fake_upstream import serve
from .helpers import free_port
from .recorder import Traced
from .survivors import REPEATS, assert_nothing, left_by

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.anyio

KINDS = [
    "200",
    "204",
    "204-and-more",
    "302",
    "404",
    "429",
    "500",
    "503",
    "not-http",
    "huge",
    "bomb",
    "gzip",
    "cut-gzip",
    "br",
    "bad-chunk",
    "hang-up",
    "truncate",
    "reset",
    "endless",
]


@asynccontextmanager
async def calling(**policy: Any) -> AsyncIterator[Upstream]:  # noqa: ANN401 - its options
    """Serve the upstream, and open a client whose breaker stays closed."""
    usual: dict[str, Any] = {"max_response_bytes": 10_000, "breaker_failures": 10**9}
    async with serve() as served, helpers.calling(served, **(usual | policy)) as upstream:
        yield upstream


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Run on uvloop, as the service does: asyncio's own transports are cycles themselves."""
    return "asyncio", {"use_uvloop": sys.platform != "win32"}


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_BACKOFF", 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("coalesce", [True, False], ids=["shared", "not shared"])
async def test_a_reply_of_any_kind_leaves_no_garbage(kind: str, coalesce: object) -> None:
    async with calling(coalesce=bool(coalesce), retry_share=0) as upstream:
        assert_nothing(await left_by(lambda: upstream.get(f"/{kind}")))


@pytest.mark.parametrize("kind", ["404", "503", "hang-up", "reset", "truncate", "bomb"])
@pytest.mark.parametrize("trace", [None, Traced()], ids=["plain", "traced"])
async def test_each_shape_of_a_call_leaves_no_garbage(kind: str, trace: Traced | None) -> None:
    async with calling(trace=trace) as upstream:
        shapes: dict[str, Callable[[], Awaitable[object]]] = {
            "retried": lambda: upstream.get(f"/{kind}"),
            "with a body": lambda: upstream.request("PUT", f"/{kind}", json={"a": 1}),
            "in a fan-out": lambda: fan_out(
                upstream.get,
                [f"/{kind}?1", f"/{kind}?2", "/200"],
                deadline=5,
                max_concurrency=2,
            ),
            "shared": lambda: asyncio.gather(
                *(upstream.get(f"/{kind}") for _ in range(3)), return_exceptions=True
            ),
            "one of several": lambda: several(upstream, kind),
            "streamed": lambda: streamed(upstream, kind),
            "with credentials": lambda: upstream.get(f"/{kind}", auth=("user", "p")),
            "with a streamed body": lambda: upstream.put(f"/{kind}", content=made()),
        }
        for shape, call in shapes.items():
            upstream._budget._tokens = 1000  # noqa: SLF001 - so that calls are retried
            left = await left_by(call)
            assert left.total() < REPEATS, (shape, left.most_common(12))


async def made() -> AsyncIterator[bytes]:
    yield b"one"


async def streamed(upstream: Upstream, kind: str) -> None:
    async with upstream.stream("GET", f"/{kind}") as response:
        await response.aread()


async def several(upstream: Upstream, kind: str) -> None:
    calls = Calls(deadline=5)
    calls.add("bad", upstream.get, f"/{kind}")
    good = calls.add("good", upstream.get, "/200")
    await calls.run()
    assert good.value.status_code == 200


@pytest.mark.parametrize("coalesce", [True, False], ids=["shared", "not shared"])
async def test_a_timed_out_call_leaves_no_garbage(coalesce: object) -> None:
    async def hurried() -> None:
        with within(0.01):
            await upstream.get("/hang")

    async with calling(timeout=0.02, coalesce=bool(coalesce)) as upstream:
        assert_nothing(await left_by(lambda: upstream.get("/hang")))
        assert_nothing(await left_by(hurried))
        assert_nothing(
            await left_by(
                lambda: fan_out(upstream.get, ["/hang", "/200"], deadline=0.01, max_concurrency=2)
            )
        )


@pytest.mark.parametrize("coalesce", [True, False], ids=["shared", "not shared"])
async def test_a_cancelled_call_leaves_no_garbage(coalesce: object) -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(upstream.get("/hang"))
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    async with calling(coalesce=bool(coalesce)) as upstream:
        assert_nothing(await left_by(cancelled))


async def test_a_call_without_a_free_connection_leaves_no_garbage() -> None:
    async with calling(max_connections=1, timeout=60) as upstream:
        busy = asyncio.create_task(upstream.get("/hang"))
        await asyncio.sleep(0.01)
        assert_nothing(await left_by(lambda: upstream.get("/200", timeout=0.002)))
        busy.cancel()
        await asyncio.wait([busy])


async def test_a_call_refused_by_the_breaker_leaves_no_garbage() -> None:
    async with calling(breaker_failures=1, breaker_seconds=60, retry_share=0) as upstream:
        with suppress(UpstreamError):
            await upstream.get("/reset")
        assert upstream.breaker.state == "open"
        assert_nothing(await left_by(lambda: upstream.get("/200")))


@pytest.mark.parametrize("attempts", [1, 2])
async def test_failing_attempts_of_a_hedged_call_leave_no_garbage(attempts: int) -> None:
    async def call() -> None:
        seconds = iter([0.001, 0.002])  # the hedge's error comes last, and is raised

        async def attempt() -> None:
            await asyncio.sleep(next(seconds))
            name = "prices"
            raise UpstreamTimeout(name, "did not answer in time")

        await hedged(attempt, delay=0 if attempts == 2 else 60, may=lambda: True)

    assert_nothing(await left_by(call))


async def test_a_hedged_call_leaves_no_garbage() -> None:
    async with calling(timeout=0.02) as upstream:
        for _ in range(20):
            upstream._latencies.note(0.001)  # noqa: SLF001
        upstream._budget._tokens = 1000  # noqa: SLF001
        assert_nothing(await left_by(lambda: upstream.get("/hang", hedge=True)))
        upstream.timeout = 20
        assert_nothing(await left_by(lambda: upstream.get("/200", hedge=True)))


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
async def test_an_unreachable_upstream_leaves_no_garbage(host: str) -> None:
    upstream = Upstream(
        "prices",
        f"http://{host}:{free_port()}",
        timeout=5,
        max_connections=5,
        retry_share=0,
        breaker_failures=10**9,
    )
    async with upstream.open():
        assert_nothing(await left_by(lambda: upstream.get("/")))


async def test_the_count_sees_a_cycle() -> None:
    async def cycle() -> None:
        error = ValueError()
        try:
            raise error
        except ValueError as caught:
            self = types.SimpleNamespace(error=caught)
            self.self = self

    assert (await left_by(cycle)).total() >= REPEATS
