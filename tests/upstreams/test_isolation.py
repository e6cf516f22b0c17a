"""A hostile caller does not change a victim's responses."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from contextvars import Context, ContextVar
from functools import partial
from typing import Any

import httpx
import pytest
from upstreams import _failures as failures
from upstreams._cache import open_cache
from upstreams._deadline import DeadlineExceeded, within
from upstreams._errors import (
    UpstreamError,
    UpstreamTimeout,
)
from upstreams._fan_out import fan_out
from upstreams._upstream import Upstream

from . import helpers
from .fake_upstream import Connection, FakeUpstream, http_reply, serve

pytestmark = pytest.mark.anyio

MANY = 60  # more than a breaker's threshold, and more than a retry budget


class Served(httpx.AsyncBaseTransport):
    """An upstream that behaves as the path says, and records the paths."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failing_once: set[str] = set()
        self.slow = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer with the status that the path begins with, 200 for any other path."""
        path = request.url.path.strip("/")
        self.asked.append(path)
        status = 200
        if path in self.failing_once:
            self.failing_once.remove(path)
            status = 503
        elif path[:3].isdigit():
            status = int(path[:3])
        elif path.startswith("hang"):
            await asyncio.Event().wait()
        elif path.startswith("slow"):
            await self.slow.wait()
        elif path.startswith("broken"):
            raise httpx.RemoteProtocolError(path)
        return httpx.Response(status, content=path.encode(), request=request)


@asynccontextmanager
async def calling(served: Served, **policy: Any) -> AsyncIterator[Upstream]:  # noqa: ANN401 - its options
    upstream = Upstream(
        "prices",
        "http://prices.invalid",
        transport=lambda: served,
        **({"timeout": 0.05, "max_connections": 100} | policy),
    )
    async with upstream.open():
        yield upstream


async def request(work: Callable[[], Awaitable[object]], *, seconds: float = 60) -> None:
    """Run a call as a separate request, and ignore its errors."""
    with within(seconds), suppress(UpstreamError, DeadlineExceeded, asyncio.CancelledError):
        await work()


@contextmanager
def patient(upstream: Upstream) -> Iterator[None]:
    """Raise the timeout: a call that used all of it would count as the upstream's failure."""
    upstream.timeout, timeout = 60, upstream.timeout
    yield
    upstream.timeout = timeout


async def hurries(upstream: Upstream) -> None:
    """Call with short deadlines, as a header can set them."""
    with patient(upstream):
        for number in range(MANY):
            await request(lambda number=number: upstream.get(f"/hang{number}"), seconds=0.002)  # type: ignore[misc]


async def leaves(upstream: Upstream) -> None:
    with patient(upstream):
        calls = [asyncio.create_task(upstream.get(f"/hang{number}")) for number in range(MANY)]
        await asyncio.sleep(0.005)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


def asks_for(path: str) -> Callable[[Upstream], Awaitable[None]]:
    """Return a caller that requests the path repeatedly."""

    async def ask(upstream: Upstream) -> None:
        for _ in range(MANY):
            await request(partial(upstream.get, path))

    return ask


def asks_for_many(path: str) -> Callable[[Upstream], Awaitable[None]]:
    """Return a caller that fans out to 20 paths of the kind, five times."""

    async def ask(upstream: Upstream) -> None:
        paths = [f"{path}{number}" for number in range(20)]
        for _ in range(5):
            await request(partial(fan_out, upstream.get, paths, deadline=60, max_concurrency=20))

    return ask


HOSTILE: dict[str, Callable[[Upstream], Awaitable[None]]] = {
    "has short deadlines": hurries,
    "cancels its calls": leaves,
    "asks for a hanging path": asks_for("/hang"),
    **{f"asks for {status}": asks_for(f"/{status}") for status in (302, 400, 401, 404, 429)},
    **{f"asks for {status}": asks_for(f"/{status}") for status in (500, 502, 503, 504)},
    **{f"asks for many {status}": asks_for_many(f"/{status}-") for status in (404, 429, 500, 503)},
    "asks for many hanging paths": asks_for_many("/hang"),
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
async def test_the_breaker_stays_closed_for_other_callers(
    hostile: Callable[[Upstream], Awaitable[None]],
) -> None:
    async with calling(Served()) as upstream:
        await hostile(upstream)
        assert upstream.breaker.state == "closed"
        assert (await upstream.get("/good", timeout=60)).text == "good"


@pytest.mark.parametrize(
    "hostile",
    [HOSTILE[name] for name in HOSTILE if "many 429" not in name and "many 503" not in name],
    ids=[name for name in HOSTILE if "many 429" not in name and "many 503" not in name],
)
async def test_other_callers_keep_their_retries(
    hostile: Callable[[Upstream], Awaitable[None]],
) -> None:
    served = Served()
    async with calling(served) as upstream:
        await hostile(upstream)
        served.failing_once.add("good")
        upstream.timeout = 60
        assert (await upstream.get("/good")).text == "good"

    assert served.asked.count("good") == 2


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
async def test_the_p95_ignores_a_hostile_caller(
    hostile: Callable[[Upstream], Awaitable[None]],
) -> None:
    async with calling(Served()) as upstream:
        for _ in range(50):
            upstream._latencies.note(7)  # noqa: SLF001 - the victim's answers took that long
        await hostile(upstream)

        assert upstream._latencies.p95 == 7  # noqa: SLF001


async def test_replies_to_callers_with_short_deadlines_are_not_latency_samples() -> None:
    async with calling(Served(), timeout=60) as upstream:
        for coalesce in (True, False):
            upstream.coalesce = coalesce
            for number in range(MANY):
                await request(partial(upstream.get, f"/good{number}"), seconds=30)

        assert upstream._latencies.p95 is None  # noqa: SLF001


async def test_a_call_shared_with_an_impatient_caller_is_answered() -> None:
    served = Served()
    async with calling(served, timeout=5) as upstream:
        hurried = asyncio.create_task(request(partial(upstream.get, "/slow"), seconds=0.02))
        await asyncio.sleep(0)
        victim = asyncio.create_task(upstream.get("/slow"))
        await hurried
        served.slow.set()

        assert (await victim).text == "slow"


async def test_a_call_shared_with_cancelled_callers_is_answered() -> None:
    served = Served()
    async with calling(served, timeout=5) as upstream:
        hostile = [asyncio.create_task(upstream.get("/slow")) for _ in range(10)]
        victim = asyncio.create_task(upstream.get("/slow"))
        await asyncio.sleep(0.001)
        for call in hostile:
            call.cancel()
        await asyncio.wait(hostile)
        served.slow.set()

        assert (await victim).text == "slow"
        assert served.asked == ["slow"]


async def test_a_half_open_probe_of_an_impatient_caller_is_followed_by_another() -> None:
    async with calling(Served(), timeout=5, breaker_failures=1, breaker_seconds=0.001) as upstream:
        await request(partial(upstream.get, "/broken"))
        for _ in range(5):
            await asyncio.sleep(0.002)
            assert upstream.breaker.state == "half-open"
            await request(partial(upstream.get, "/hang"), seconds=0.002)

        assert (await upstream.get("/good", timeout=60)).text == "good"
        assert upstream.breaker.state == "closed"


async def test_the_calls_of_an_older_request_do_not_wait_behind_a_flood() -> None:
    served = Served()
    async with calling(served, timeout=60, max_connections=1, max_waiting=20) as upstream:
        with within(60):
            first = asyncio.create_task(upstream.get("/slow"))
            await asyncio.sleep(0)
            flood = [
                asyncio.create_task(
                    request(partial(upstream.get, f"/flood{number}")), context=Context()
                )
                for number in range(100)
            ]
            await asyncio.sleep(0)
            second = asyncio.create_task(upstream.get("/good"))
            await asyncio.sleep(0)
            served.slow.set()
            await asyncio.gather(first, second, *flood)

    assert served.asked[:2] == ["slow", "good"]
    assert len(served.asked) < 30, "the flood was not bounded"


async def test_a_flood_of_failures_hides_no_other_kind(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "_allowance", failures.Allowance())
    async with calling(Served(), breaker_failures=10_000) as upstream:
        for _ in range(20):
            for kind in ("/404", "/500", "/302"):
                await fan_out(upstream.get, [kind] * 3, deadline=5, max_concurrency=3)
        caplog.clear()
        await fan_out(upstream.get, ["/401"], deadline=5, max_concurrency=1)

    assert ["answered 401" in record.getMessage() for record in caplog.records] == [True]


# The cache


def keeping(served: FakeUpstream) -> AbstractAsyncContextManager[Upstream]:
    """Open a client that keeps replies, and whose breaker stays closed."""
    cache = partial(open_cache, None)
    return helpers.calling(served, max_retries=0, breaker_failures=10_000, cache=cache)


FOR_A_MINUTE = "Cache-Control: max-age=60"


@pytest.mark.parametrize("name", ["Cookie", "Authorization", "cookie", "authorization"])
async def test_a_reply_to_a_request_with_credentials_is_not_cached(name: str) -> None:
    async with serve(http_reply(b"", FOR_A_MINUTE)) as served, keeping(served) as upstream:
        served.plan.extend(http_reply(f"{n}".encode(), FOR_A_MINUTE) for n in range(4))
        replies = [
            (await upstream.get("/", headers=headers)).text
            for headers in ({name: "alice"}, {name: "bob"}, {}, {name: "alice"})
        ]

    assert replies == ["0", "1", "2", "3"]


async def test_a_reply_that_sets_a_cookie_is_not_cached() -> None:
    served_reply = http_reply(b"hello", FOR_A_MINUTE, "Set-Cookie: user=alice")
    async with serve(served_reply) as served, keeping(served) as upstream:
        for _ in range(2):
            await upstream.get("/")

    assert len(served.heads) == 2


@pytest.mark.parametrize(
    "fields",
    [
        ["Cache-Control: private, max-age=60"],
        ["Cache-Control: max-age=60", "Cache-Control: private"],
        ["Cache-Control: PRIVATE"],
        [FOR_A_MINUTE, "Vary: *"],
        [FOR_A_MINUTE, "Vary: X-Tenant", "Vary: Accept-Language"],
    ],
    ids=", ".join,
)
async def test_a_private_or_varying_reply_is_not_shared(fields: list[str]) -> None:
    async with serve(http_reply(b"", *fields)) as served, keeping(served) as upstream:
        for tenant in ("a", "b"):
            await upstream.get("/", headers={"X-Tenant": tenant, "Accept-Language": tenant})

    assert len(served.heads) == 2


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oh", "301 Moved", "410 Gone", "503 Oh"])
async def test_a_failure_is_not_cached(status: str) -> None:
    async with serve(http_reply(b"hello")) as served, keeping(served) as upstream:
        served.plan.append(http_reply(b"", FOR_A_MINUTE, status=status))
        await request(partial(upstream.get, "/"))

        assert (await upstream.get("/")).text == "hello"


@pytest.mark.parametrize(
    "reply",
    [
        http_reply(b"hello", FOR_A_MINUTE)[:-2],
        http_reply(b"hello", FOR_A_MINUTE, "Content-Encoding: gzip"),
        http_reply(b"hello", FOR_A_MINUTE, "Content-Encoding: br"),
    ],
    ids=["cut off", "not gzip", "br"],
)
async def test_an_incomplete_reply_is_not_cached(reply: bytes) -> None:
    async def cut_off(writer: Connection) -> None:
        writer.write(reply)
        await writer.drain()

    async with serve(cut_off) as served, keeping(served) as upstream:
        for _ in range(2):
            with pytest.raises(UpstreamError) as error:
                await upstream.get("/")
            assert not isinstance(error.value, UpstreamTimeout)

    assert len(served.heads) == 2


# Credentials


class Held(httpx.AsyncBaseTransport):
    """Answers each request with its credentials, once `expected` requests are there together."""

    def __init__(self, expected: int) -> None:
        self.all_there = asyncio.Barrier(expected)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer with every header that could name a user."""
        names = ("Authorization", "Cookie", "X-User", "X-Api-Key", "Accept-Language")
        async with asyncio.timeout(20):
            await self.all_there.wait()
        credentials = ",".join(request.headers.get(name, "") for name in names)
        return httpx.Response(200, text=credentials, headers={"Cache-Control": "max-age=60"})


user: ContextVar[str] = ContextVar("user")


class OfTheCurrentUser(httpx.Auth):
    """One object for all callers, which sends the credentials of each."""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Complete the request."""
        request.headers["Authorization"] = user.get()
        yield request


ONE_FOR_ALL = OfTheCurrentUser()


def with_users_token(request: httpx.Request) -> httpx.Request:
    """Complete the request, as the same function for every caller."""
    request.headers["Authorization"] = user.get()
    return request


WAYS: dict[str, tuple[str | None, Callable[[], dict[str, Any]]]] = {
    **{
        f"pass_on {name}": (name, dict)
        for name in ("Authorization", "Cookie", "X-User", "x-api-key", "Accept-Language")
    },
    "a tuple": (None, lambda: {"auth": (user.get(), "p")}),
    "an object for each": (None, lambda: {"auth": httpx.BasicAuth(user.get(), "p")}),
    "one object for all": (None, lambda: {"auth": ONE_FOR_ALL}),
    "one function for all": (None, lambda: {"auth": with_users_token}),
    "a header": (None, lambda: {"headers": {"X-User": user.get()}}),
    "a header in bytes": (None, lambda: {"headers": {b"x-user": user.get().encode()}}),
    "pairs of headers": (None, lambda: {"headers": [("X-User", user.get())]}),
}


@pytest.mark.parametrize(("name", "options"), WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("kept", [False, True], ids=["no cache", "cache"])
async def test_callers_with_different_credentials_never_share_a_reply(
    name: str | None,
    options: Callable[[], dict[str, Any]],
    kept: object,
) -> None:
    upstream = Upstream(
        "prices",
        "http://prices.invalid",
        timeout=30,
        max_connections=10,
        transport=lambda: Held(2),
        cache=partial(open_cache, None) if kept and name else None,
        pass_on=lambda: [("X-Request-ID", user.get()), *([(name, user.get())] if name else [])],
    )

    async def call(caller: str) -> str:
        user.set(caller)
        return (await upstream.get("/", **options())).text

    async with upstream.open():
        for _ in range(2):  # the second time, a cache could answer
            alice, bob = await asyncio.gather(call("alice"), call("bob"))
            assert alice != bob


@pytest.mark.parametrize("name", ["X-Request-ID", "traceparent", "TraceState", "baggage"])
async def test_callers_that_differ_only_in_request_ids_share_a_reply(name: str) -> None:
    ids = iter(range(10))
    served = Served()
    upstream_calls = 3
    async with calling(served, timeout=60, pass_on=lambda: [(name, str(next(ids)))]) as upstream:
        tasks = [asyncio.create_task(upstream.get("/slow")) for _ in range(upstream_calls)]
        await asyncio.sleep(0)
        served.slow.set()
        await asyncio.gather(*tasks)

    assert served.asked == ["slow"]


async def test_calls_with_credentials_skip_the_cache() -> None:
    reply = http_reply(b"for all", FOR_A_MINUTE)
    async with serve(reply) as served, keeping(served) as upstream:
        await upstream.get("/")
        await upstream.get("/")
        assert served.requests == 1
        await upstream.get("/", auth=("user", "p"))
        await upstream.get("/", auth=with_users_token_of("alice"))

    assert served.requests == 3


def with_users_token_of(name: str) -> Callable[[httpx.Request], httpx.Request]:
    """Return a function that completes a request for that user."""

    def complete(request: httpx.Request) -> httpx.Request:
        request.headers["Authorization"] = name
        return request

    return complete


@pytest.mark.parametrize("status", [404, 410, 301, 500])
async def test_an_accepted_failure_is_not_cached(status: int) -> None:
    failed = http_reply(b"", FOR_A_MINUTE, status=status)
    async with serve(failed) as served, keeping(served) as upstream:
        assert (await upstream.get("/", accept={status})).status_code == status
        with pytest.raises(UpstreamError):
            await upstream.get("/")

    assert served.requests == 2
