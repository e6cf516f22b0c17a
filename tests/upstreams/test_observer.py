"""The events of an upstream: one end for each beginning, however a call ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any

import httpx
import pytest
from upstreams import (
    ERRORS,
    METHODS,
    Attempt,
    DeadlineExceeded,
    Observer,
    Trace,
    Upstream,
    UpstreamError,
    UpstreamSettings,
    UpstreamUnavailable,
    fan_out,
    within,
)
from upstreams import _breaker as breaker
from upstreams import _observer as module
from upstreams import _retries as retries
from upstreams._cache import open_cache
from upstreams._observer import error_name

from . import helpers
from .fake_upstream import OK, FakeUpstream, http_reply, serve
from .helpers import free_port, settle
from .recorder import EVENTS, Recorder, Traced, span

pytestmark = pytest.mark.anyio

Shape = Callable[[Upstream, str], Awaitable[object]]


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_BACKOFF", 0)


@asynccontextmanager
async def calling(served: FakeUpstream, **policy: Any) -> AsyncIterator[Upstream]:  # noqa: ANN401
    """Open a client with a recorder and a trace."""
    usual = {"observer": Recorder(), "trace": Traced(), "max_response_bytes": 10_000}
    async with helpers.calling(served, **(usual | policy)) as upstream:
        yield upstream


def recorder(upstream: Upstream) -> Recorder:
    assert isinstance(upstream.observer, Recorder)
    return upstream.observer


def traced(upstream: Upstream) -> Traced:
    assert isinstance(upstream.trace, Traced)
    return upstream.trace


async def failure(call: Awaitable[object]) -> str | None:
    """Return the name of the error with which a call ends."""
    try:
        await call
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - any
        return type(error).__name__
    return None


# Every shape of a call, and every kind of outcome


async def streamed(upstream: Upstream, path: str) -> None:
    async with upstream.stream("GET", path) as response:
        await response.aread()


async def through_a_client(upstream: Upstream, path: str) -> None:
    async with upstream.client() as client:
        await client.get(path)


async def concurrent(upstream: Upstream, path: str) -> None:
    outcomes = await asyncio.gather(*(upstream.get(path) for _ in range(3)), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


async def in_a_fan_out(upstream: Upstream, path: str) -> None:
    result = await fan_out(upstream.get, [path], deadline=20, max_concurrency=1)
    for error in result.failed.values():
        raise error


async def made() -> AsyncIterator[bytes]:
    yield b"one"


SHAPES: dict[str, Shape] = {
    "get": lambda upstream, path: upstream.get(path),
    "not shared": lambda upstream, path: upstream.get(path, auth=httpx.BasicAuth("user", "p")),
    "post": lambda upstream, path: upstream.post(path, json=1),
    "put": lambda upstream, path: upstream.put(path, json=1),
    "streamed put": lambda upstream, path: upstream.put(path, content=made()),
    "unknown method": lambda upstream, path: upstream.request("BREW", path),
    "streamed": streamed,
    "client": through_a_client,
    "concurrent": concurrent,
    "fan-out": in_a_fan_out,
}

OUTCOMES = [
    *("200", "204", "302", "404", "429", "500", "503", "not-http", "huge", "bomb", "gzip"),
    *("cut-gzip", "br", "bad-chunk", "hang-up", "truncate", "reset", "reset-in-the-body"),
]


def assert_consistent(recorded: Recorder, blocks: Traced, requests: int) -> None:
    """Check the invariants that hold once every call has ended."""
    counts = recorded.counts
    assert counts["connection_taken"] == counts["connection_released"]
    assert counts["wait_began"] == counts["wait_ended"]
    assert counts["attempt_ended"] == len(blocks.begun) == len(blocks.ended)
    assert counts["attempt_ended"] >= requests
    for event in ("call_ended", "attempt_ended", "body_failed"):
        for method, error in recorded.facts(event):
            assert method in METHODS
            assert error is None or error in ERRORS
    for _, upstream, *_ in recorded.events:
        assert upstream == "fake"
    seconds = [fact for _, *facts in recorded.events for fact in facts if isinstance(fact, float)]
    assert all(0 <= each < 20 for each in seconds)


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("shape", SHAPES)
async def test_each_call_and_each_attempt_is_reported_once(shape: str, outcome: str) -> None:
    async with serve() as served, calling(served) as upstream:
        error = await failure(SHAPES[shape](upstream, f"/{outcome}"))
        await settle()
        recorded, blocks = recorder(upstream), traced(upstream)

        assert_consistent(recorded, blocks, served.requests)
        calls = 3 if shape == "concurrent" else 1
        assert recorded.count("call_ended") == calls
        attempts = recorded.count("attempt_ended")
        assert attempts == served.requests
        assert attempts == recorded.count("connection_taken")
        assert attempts == 1 + recorded.count("retried")
        assert recorded.count("coalesced") == calls - 1
        ends, broken = recorded.errors("call_ended"), recorded.errors("body_failed")
        if shape == "client":
            assert [block.error for block in blocks.ended] == ends
        elif shape == "streamed":
            assert [name for name in ends + broken if name is not None] == [error] * bool(error)
        else:
            assert ends == [error] * calls
            assert recorded.errors("attempt_ended")[-1] == blocks.ended[-1].error == error
        statuses = {block.status for block in blocks.ended}
        assert statuses <= {int(outcome) if outcome.isdigit() else 200, None}


@pytest.mark.parametrize(
    ("outcome", "name"),
    [
        ("404", "UpstreamRejected"),
        ("429", "UpstreamUnavailable"),
        ("503", "UpstreamUnavailable"),
        ("302", None),
        ("hang-up", "UpstreamUnavailable"),
        ("not-http", "UpstreamInvalid"),
    ],
)
async def test_a_request_through_a_client_is_reported_as_a_call(
    outcome: str, name: str | None
) -> None:
    async with serve() as served, calling(served) as upstream:
        with suppress(httpx.HTTPError):
            await through_a_client(upstream, f"/{outcome}")

        assert recorder(upstream).errors("call_ended") == [name]
        assert recorder(upstream).errors("attempt_ended") == [name]


@pytest.mark.parametrize("broken", ["bomb", "cut-gzip", "truncate", "reset-in-the-body"])
@pytest.mark.parametrize("shape", [streamed, through_a_client])
async def test_a_broken_body_is_reported(shape: Shape, broken: str) -> None:
    async with serve() as served, calling(served) as upstream:
        await failure(shape(upstream, f"/{broken}"))

        ended = recorder(upstream).errors("call_ended")
        failed = recorder(upstream).errors("body_failed")
    assert ended == [None]
    expected = [] if (shape, broken) == (streamed, "bomb") else ["UpstreamInvalid"]
    if broken in {"truncate", "reset-in-the-body"}:
        expected = ["UpstreamUnavailable"]
    assert failed == expected


async def test_unknown_methods_and_errors_are_reported_as_other() -> None:
    class Odd(UpstreamUnavailable):
        pass

    async with serve() as served, calling(served) as upstream:
        for number in range(5):
            await upstream.request(f"BREW{number}", "/")
            await upstream.client().request(f"STIR{number}", "/")

        assert {method for method, _ in recorder(upstream).facts("call_ended")} == {"_OTHER"}
    assert error_name(Odd("prices", "is odd")) == "UpstreamUnavailable"
    assert error_name(type("Made", (ValueError,), {})()) == "_OTHER"
    assert error_name(KeyboardInterrupt()) == "_OTHER"


# Timeouts and cancelled callers


async def test_timeouts_deadlines_and_cancellations_are_distinguished() -> None:
    async with serve() as served, calling(served) as upstream:
        assert await failure(upstream.get("/hang", timeout=0.1)) == "UpstreamTimeout"
        with within(0.1):
            assert await failure(upstream.post("/hang")) == "DeadlineExceeded"
        with within(0.1):  # a shared call with one caller
            assert await failure(upstream.get("/hang")) == "DeadlineExceeded"
        arrived = served.requests
        leaving = asyncio.create_task(upstream.get("/hang"))
        await served.reached(arrived + 1)
        leaving.cancel()
        assert await failure(leaving) == "CancelledError"

        recorded, blocks = recorder(upstream), traced(upstream)
    expected = ["UpstreamTimeout", "DeadlineExceeded", "DeadlineExceeded", "CancelledError"]
    assert recorded.errors("attempt_ended") == [block.error for block in blocks.ended] == expected
    assert recorded.errors("call_ended") == expected
    assert_consistent(recorded, blocks, served.requests)


async def test_the_deadline_ends_a_call_through_a_client() -> None:
    async with serve() as served, calling(served) as upstream:
        with within(0.1):
            assert await failure(through_a_client(upstream, "/hang")) == "ReadTimeout"

        assert recorder(upstream).errors("call_ended") == ["DeadlineExceeded"]
        assert traced(upstream).ended[0].error == "DeadlineExceeded"


async def test_waits_for_a_connection_are_reported() -> None:
    async with serve() as served, calling(served, max_connections=1, max_waiting=2) as upstream:
        recorded = recorder(upstream)
        calls = [asyncio.create_task(upstream.get(f"/held?{number}")) for number in range(3)]
        await served.reached(1)
        await settle()
        assert recorded.counts == {"connection_taken": 1, "wait_began": 2}
        impatient = upstream.client()
        impatient.timeout = httpx.Timeout(20, pool=0.01)
        assert await failure(impatient.get("/")) == "PoolTimeout"
        calls[2].cancel()
        served.held.set()
        await asyncio.gather(*calls, return_exceptions=True)

        assert_consistent(recorded, traced(upstream), served.requests)
        assert recorded.count("connection_taken") == 2
        assert sorted(recorded.errors("call_ended"), key=str) == [
            "CancelledError",
            None,
            None,
            "UpstreamBusy",
        ]


# Retries, hedges, the breaker, the cache


async def test_retries_and_their_refusals_are_reported() -> None:
    async with serve() as served, calling(served) as upstream:
        recorded = recorder(upstream)
        served.plan.extend(["503", "200"])
        await upstream.get("/")
        assert recorded.count("retried") == 1
        await failure(upstream.get("/try-later"))
        assert recorded.facts("retry_refused") == [("deadline",)]
        upstream._budget._tokens = 0  # noqa: SLF001
        await failure(upstream.get("/503"))
        assert recorded.facts("retry_refused") == [("deadline",), ("budget",)]

        assert recorded.count("retried") == 1
        assert [block.number for block in traced(upstream).ended] == [1, 2, 1, 1]


async def test_no_refusal_is_reported_if_no_retry_was_left() -> None:
    async with serve() as served, calling(served, max_retries=0) as upstream:
        await failure(upstream.get("/503"))
        await failure(upstream.post("/503"))

        assert not recorder(upstream).facts("retry_refused")


async def test_hedges_and_their_wins_are_reported() -> None:
    async with serve() as served, calling(served) as upstream:
        for _ in range(20):
            upstream._latencies.note(0)  # noqa: SLF001
        recorded = recorder(upstream)
        served.plan.extend(["hang", "200"])
        await upstream.get("/", hedge=True)
        assert (recorded.count("hedged"), recorded.count("hedge_won")) == (1, 1)
        assert recorded.errors("attempt_ended") == [None, "CancelledError"]

        upstream._budget._tokens = 0  # noqa: SLF001
        waiting = asyncio.create_task(upstream.get("/held", hedge=True))
        await served.reached(3)
        while not recorded.count("hedge_refused"):  # noqa: ASYNC110 - the call has its own timer
            await asyncio.sleep(0)
        served.held.set()
        await waiting
        assert (recorded.count("hedged"), recorded.count("hedge_won")) == (1, 1)
        assert_consistent(recorded, traced(upstream), served.requests)


async def test_a_first_attempt_that_wins_does_not_count_as_a_won_hedge() -> None:
    async with serve() as served, calling(served) as upstream:
        for _ in range(20):
            upstream._latencies.note(0)  # noqa: SLF001
        served.plan.extend(["held", "hang"])
        waiting = asyncio.create_task(upstream.get("/", hedge=True))
        await served.reached(2)
        served.held.set()
        await waiting

        recorded = recorder(upstream)
        assert (recorded.count("hedged"), recorded.count("hedge_won")) == (1, 0)


async def test_state_changes_and_refusals_of_the_breaker_are_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(breaker, "monotonic", lambda: now)
    policy: dict[str, Any] = {"breaker_failures": 1, "breaker_seconds": 60, "max_retries": 0}
    async with serve() as served, calling(served, **policy) as upstream:
        recorded = recorder(upstream)
        await failure(upstream.get("/reset"))
        assert recorded.facts("breaker_changed") == [("open",)]
        assert await failure(upstream.get("/")) == "UpstreamUnavailable"
        assert recorded.count("breaker_refused") == 1
        assert recorded.count("attempt_ended") == 1
        now += 60
        await upstream.get("/")

        assert recorded.facts("breaker_changed") == [("open",), ("half-open",), ("closed",)]


async def test_hits_and_misses_of_the_cache_are_reported() -> None:
    kept = http_reply(b"hello", "Cache-Control: max-age=60")
    async with serve(kept) as served, calling(served, cache=partial(open_cache, None)) as upstream:
        for _ in range(3):
            await upstream.get("/")
        await upstream.get("/", headers={"Cookie": "a=b"})
        await upstream.get("/", auth=("user", "p"))
        served.plan.append("404")
        await failure(upstream.get("/not-kept"))

        recorded = recorder(upstream)
        assert (recorded.count("cache_hit"), recorded.count("cache_missed")) == (2, 3)
        assert recorded.count("call_ended") == 6
        assert recorded.count("attempt_ended") == served.requests == 4


# The context of an attempt, and the headers that a trace adds


async def test_the_callers_span_is_the_parent_of_every_kind_of_call() -> None:
    async with serve() as served, calling(served, coalesce=False) as upstream:
        parents = traced(upstream).parents

        async def call(name: str, *paths: str, **options: Any) -> list[str]:  # noqa: ANN401
            begun = len(parents)
            token = span.set(name)
            await asyncio.gather(*(upstream.get(path, **options) for path in paths))
            assert span.get() == name
            span.reset(token)
            return parents[begun:]

        assert await call("plain", "/") == ["plain"]
        assert await call("gathered", "/a", "/b") == ["gathered"] * 2
        served.plan.extend(["503", "200"])
        assert await call("retried", "/") == ["retried"] * 2
        for _ in range(100):
            upstream._latencies.note(0)  # noqa: SLF001
        served.plan.extend(["hang", "200"])
        assert await call("hedged", "/", hedge=True) == ["hedged"] * 2
        background = asyncio.create_task(call("in the background", "/"))
        assert await background == ["in the background"]

        span.set("request")
        await fan_out(upstream.get, ["/a", "/b"], deadline=20, max_concurrency=2)
        await streamed(upstream, "/")
        await through_a_client(upstream, "/")
        assert parents[-4:] == ["request"] * 4
        assert span.get() == "request"


async def test_the_parent_of_a_shared_call_is_its_first_callers_span() -> None:
    async def caller(name: str) -> None:
        span.set(name)
        await upstream.get("/held")

    async with serve() as served, calling(served) as upstream:
        first = asyncio.create_task(caller("first"))
        await served.reached(1)
        second = asyncio.create_task(caller("second"))
        await settle()
        first.cancel()
        served.held.set()
        await second

        assert traced(upstream).parents == ["first"]


@pytest.mark.parametrize("shape", SHAPES)
async def test_each_attempt_sends_its_own_trace_header(shape: str) -> None:
    upstream_ids = [("traceparent", "of the request"), ("X-Request-ID", "id")]
    async with serve() as served, calling(served, pass_on=lambda: upstream_ids) as upstream:
        served.plan.extend(["503", "503"])
        await failure(SHAPES[shape](upstream, "/"))

        sent = [block.headers["traceparent"] for block in traced(upstream).ended]
        assert served.headers("traceparent") == sent
        assert len({*sent}) == len(sent) == served.requests
        assert "of the request" not in "".join(served.heads)
        assert served.headers("X-Request-ID") == ["id"] * served.requests


async def test_hedged_attempts_send_different_trace_headers() -> None:
    async with serve() as served, calling(served) as upstream:
        for _ in range(20):
            upstream._latencies.note(0)  # noqa: SLF001
        served.plan.extend(["hang", "200"])
        await upstream.get("/", hedge=True, auth=httpx.BasicAuth("user", "p"))

        assert served.headers("traceparent") == ["attempt 1", "attempt 2"]


async def test_every_request_of_an_auth_flow_has_the_trace_header() -> None:
    challenge = http_reply(
        b"", 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=MD5', status=401
    )
    async with serve() as served, calling(served) as upstream:
        served.plan.append(challenge)
        await upstream.get("/", auth=httpx.DigestAuth("user", "p"))

        assert served.headers("traceparent") == ["attempt 1"] * 2
        assert recorder(upstream).count("attempt_ended") == 1


async def test_a_redirect_to_another_host_does_not_get_the_trace_header() -> None:
    async with serve() as other, serve() as served, calling(served) as upstream:
        served.plan.append(http_reply(b"", f"Location: {other.base_url}/", status=302))
        async with upstream.client() as client:
            await client.get("/", follow_redirects=True)

        assert served.headers("traceparent") == ["attempt 1"]
        assert other.headers("traceparent") == [None]
        assert len(traced(upstream).ended) == 2


async def test_the_url_of_an_attempt_has_no_secret() -> None:
    async with serve(OK) as served:
        base = served.base_url.replace("//", "//user:s3cret@") + "/v1?key=s3cret"
        upstream = Upstream("fake", base, trace=(blocks := Traced()))
        await upstream.get("/a%2Fb?token=s3cret", params={"q": "s3cret"})
        await upstream.client().get("/c?token=s3cret")

    first, second = blocks.ended
    assert first.url == f"{served.base_url}/v1/a%2Fb"
    assert second.url == f"{served.base_url}/v1/c"
    assert "s3cret" not in repr(blocks.ended)


# Setting the observer and the trace


async def test_observer_and_trace_can_be_set_until_the_pool_is_open() -> None:
    upstream = UpstreamSettings().upstream("fake", stub=lambda: httpx.MockTransport(answer))
    client = upstream.client()  # an SDK may create its client much earlier
    upstream.observer, upstream.trace = recorded, blocks = Recorder(), Traced()
    async with upstream.open():
        await upstream.get("/")
        await client.get("/")

    assert recorded.counts == {
        "call_ended": 2,
        "attempt_ended": 2,
        "connection_taken": 2,
        "connection_released": 2,
    }
    assert len(blocks.ended) == 2


def answer(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, request=request)


async def test_calls_without_an_open_pool_are_reported() -> None:
    async with serve() as served:
        upstream = helpers.connect(served, observer=(recorded := Recorder()))
        await upstream.get("/")
        await failure(upstream.get("/503"))

    assert recorded.counts["connection_taken"] == recorded.counts["connection_released"] == 2
    assert recorded.errors("call_ended") == [None, "UpstreamUnavailable"]


def test_the_settings_pass_on_observer_and_trace() -> None:
    observer, trace = Recorder(), Traced()
    upstream = UpstreamSettings().upstream("fake", observer=observer, trace=trace)

    assert (upstream.observer, upstream.trace) == (observer, trace)


# Observers that fail


def _failing(event: str) -> Callable[..., None]:
    def fail(self: Recorder, *facts: Any) -> None:  # noqa: ANN401 - of any type
        getattr(Recorder, event)(self, *facts)
        raise ZeroDivisionError

    fail.__qualname__ = f"Failing.{event}"
    return fail


# Records each event, then raises.
Failing: type[Recorder] = type("Failing", (Recorder,), {each: _failing(each) for each in EVENTS})


async def every_event(upstream: Upstream, served: FakeUpstream) -> list[str | None]:
    """Make calls that cause every event, and return their errors."""
    ends = [await failure(upstream.get(path)) for path in ("/kept", "/kept", "/404", "/try-later")]
    ends.append(await failure(concurrent(upstream, "/200")))
    served.plan.extend(["503", "200"])
    ends.append(await failure(upstream.get("/again")))
    upstream._budget._tokens = 0  # noqa: SLF001
    ends.append(await failure(upstream.get("/503")))
    ends.append(await failure(streamed(upstream, "/truncate")))
    for _ in range(100):
        upstream._latencies.note(0)  # noqa: SLF001
    served.plan.append("hang")
    ends.append(await failure(upstream.get("/refused", hedge=True, timeout=0.3)))
    upstream._budget._tokens = 10  # noqa: SLF001
    served.plan.extend(["hang", "200"])
    ends.append(await failure(upstream.get("/hedged", hedge=True)))
    busy = [asyncio.create_task(upstream.get(f"/held?{number}")) for number in range(3)]
    while not recorder(upstream).count("wait_began"):  # noqa: ASYNC110 - the cache has a thread
        await asyncio.sleep(0.001)
    served.held.set()
    ends += [await failure(call) for call in busy]
    ends.append(await failure(through_a_client(upstream, "/200")))
    for number in range(5):
        ends.append(await failure(upstream.post(f"/reset?{number}")))
    return ends


POLICY: dict[str, Any] = {
    "breaker_failures": 4,
    "breaker_seconds": 60,
    "max_connections": 2,
    "cache": partial(open_cache, None),
}


async def test_every_event_of_the_interface_is_reported() -> None:
    async with serve() as served, calling(served, **POLICY) as upstream:
        served.plan.append(http_reply(b"hello", "Cache-Control: max-age=60"))
        async with asyncio.timeout(60):
            await every_event(upstream, served)

        assert {*recorder(upstream).counts} == {*EVENTS}
        assert_consistent(recorder(upstream), traced(upstream), served.requests)


@pytest.mark.parametrize("event", EVENTS)
def test_an_observer_may_leave_out_any_event(event: str) -> None:
    facts = {"upstream": "x", "method": "GET", "error": None, "seconds": 0.1, "state": "open"}
    method = getattr(Observer(), event)
    names = method.__code__.co_varnames[1 : method.__code__.co_argcount]

    method(*(facts.get(name, "budget") for name in names))


@contextmanager
def fails_to_begin(_: Attempt) -> Iterator[None]:
    raise ZeroDivisionError
    yield


@contextmanager
def fails_to_end(_: Attempt) -> Iterator[None]:
    try:
        yield
    finally:
        raise ZeroDivisionError


@contextmanager
def swallows(_: Attempt) -> Iterator[None]:
    with suppress(BaseException):
        yield


@contextmanager
def adds_an_invalid_header(attempt: Attempt) -> Iterator[None]:
    attempt.headers["traceparent"] = None  # type: ignore[assignment]
    yield


def raises_when_called(_: Attempt) -> AbstractContextManager[None]:
    raise ZeroDivisionError


BAD_TRACES: dict[str, Trace] = {
    "fails to begin": fails_to_begin,
    "fails to end": fails_to_end,
    "swallows": swallows,
    "raises when called": raises_when_called,
    "adds an invalid header": adds_an_invalid_header,
}


@pytest.mark.parametrize("bad", ["observer", *BAD_TRACES])
async def test_errors_of_an_observer_or_a_trace_do_not_reach_the_call(
    bad: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_broken", set())
    ends = []
    for observer, trace in (
        (Recorder(), Traced()),
        (Failing() if bad == "observer" else Recorder(), BAD_TRACES.get(bad, Traced())),
    ):
        policy = POLICY | {"observer": observer, "trace": trace}
        async with serve() as served, calling(served, **policy) as upstream:
            served.plan.append(http_reply(b"hello", "Cache-Control: max-age=60"))
            async with asyncio.timeout(60):
                ends.append(await every_event(upstream, served))
            await settle()
            assert observer.count("connection_taken") == observer.count("connection_released")
            pool = upstream._connections.kept  # noqa: SLF001
            assert pool is not None
            assert pool.slots._free == 2  # noqa: SLF001

    assert ends[0] == ends[1]
    failed = [record for record in caplog.records if "failed, and is not" in record.message]
    expected = {"observer": len(EVENTS), "swallows": 0}.get(bad, 1)
    assert len(failed) == expected
    assert all(record.exc_info for record in failed)


async def test_an_unreachable_upstream_is_reported() -> None:
    upstream = Upstream(
        "fake", f"http://127.0.0.1:{free_port()}", observer=(recorded := Recorder()), max_retries=0
    )
    async with upstream.open():
        with pytest.raises((UpstreamError, DeadlineExceeded)):
            await upstream.get("/")

    assert recorded.errors("call_ended") == ["UpstreamUnavailable"]
