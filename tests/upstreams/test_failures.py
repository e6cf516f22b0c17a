"""Log lines of failed calls: one for each, with its facts, and limited in rate."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any

import httpx
import pytest
from upstreams import (
    Calls,
    DeadlineExceeded,
    Upstream,
    UpstreamInvalid,
    UpstreamTimeout,
    UpstreamUnavailable,
    _fan_out,
    fan_out,
    log_failure,
    within,
)
from upstreams import _failures as failures
from upstreams import _retries as retries
from upstreams._cache import open_cache

from . import helpers
from .fake_upstream import FakeUpstream, serve
from .helpers import free_port, settle

pytestmark = pytest.mark.anyio

WAREHOUSE = "warehouse"
SECRET = "s3cret"  # noqa: S105 - the tests look for it


@pytest.fixture(autouse=True)
def fresh_allowance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_allowance", failures.Allowance())
    monkeypatch.setattr(retries, "FIRST_BACKOFF", 0)


def warnings(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the facts of the warnings about failed calls."""
    return [vars(record) for record in caplog.records if record.name == failures.__name__]


async def test_each_failed_call_is_a_warning_with_its_facts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = UpstreamUnavailable("prices", "answered 503", status=503, reason="such")
    error.attempts = 3

    async def call(key: str) -> str:
        if key == "b":
            raise error
        return key

    await fan_out(call, "abc", deadline=5, max_concurrency=3)

    [record] = caplog.records
    facts = vars(record)
    assert record.levelname == "WARNING"
    assert facts["upstream"] == "prices"
    assert facts["kind"] == "UpstreamUnavailable"
    assert facts["attempts"] == 3
    assert facts["duration_ms"] >= 0
    assert record.getMessage().startswith("prices answered 503 (upstream=prices, kind=Upstream")


# Every way of making calls that fail, and how many failed calls each way has


@asynccontextmanager
async def calling(served: FakeUpstream, **policy: Any) -> AsyncIterator[Upstream]:  # noqa: ANN401
    usual = {"max_response_bytes": 10_000, "breaker_failures": 10**9}
    async with helpers.calling(served, **(usual | policy)) as upstream:
        yield upstream


async def caught(call: Awaitable[object]) -> None:
    """Ignore a failed call, as a view with a fallback does."""
    with suppress(Exception):
        await call


async def gathered(upstream: Upstream, path: str) -> None:
    calls = [upstream.get(f"{path}?{SECRET}={number}") for number in range(3)]
    await asyncio.gather(*calls, return_exceptions=True)


async def in_a_group(upstream: Upstream, path: str) -> None:
    with suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            call = group.create_task(upstream.get(f"{path}?{SECRET}"))
            group.create_task(asyncio.wait([call]))  # a failure cancels it


async def in_a_fan_out(upstream: Upstream, path: str) -> None:
    keys = [f"{path}?{SECRET}={number}" for number in range(3)]
    await fan_out(upstream.get, keys, deadline=20, max_concurrency=2)


async def one_of_several(upstream: Upstream, path: str) -> None:
    calls = Calls(deadline=20)
    bad = calls.add("bad", upstream.get, f"{path}?{SECRET}")
    calls.add("good", upstream.get, "/200")
    await calls.run()
    with suppress(Exception):
        _ = bad.value


async def shared(upstream: Upstream, path: str) -> None:
    await asyncio.gather(*(upstream.get(path) for _ in range(3)), return_exceptions=True)


async def in_the_background(upstream: Upstream, path: str) -> None:
    await asyncio.create_task(caught(upstream.get(path)))


async def streamed(upstream: Upstream, path: str) -> None:
    with suppress(Exception):
        async with upstream.stream("GET", path, params={"key": SECRET}) as response:
            await response.aread()


async def through_a_client(upstream: Upstream, path: str) -> None:
    async with upstream.client() as client:
        await caught(client.get(path, params={"key": SECRET}))


async def handled(upstream: Upstream, path: str) -> None:
    """Log an error several times, as nested error handlers do."""
    try:
        await upstream.get(path, params={"key": SECRET})
    except Exception as error:  # noqa: BLE001 - any
        log_failure(error)
        log_failure(error, seconds=1)


WAYS: dict[str, tuple[Callable[[Upstream, str], Awaitable[None]], int]] = {
    "caught": (lambda upstream, path: caught(upstream.get(path, params={"a": SECRET})), 1),
    "posted": (lambda upstream, path: caught(upstream.post(path, json={"key": SECRET})), 1),
    "gathered": (gathered, 3),
    "in a group": (in_a_group, 1),
    "in a fan-out": (in_a_fan_out, 3),
    "one of several": (one_of_several, 1),
    "shared": (shared, 3),
    "in the background": (in_the_background, 1),
    "streamed": (streamed, 1),
    "through a client": (through_a_client, 1),
    "handled": (handled, 1),
}
FAULTS = ["500", "503", "hang-up", "reset", "not-http", "truncate", "cut-gzip", "bad-chunk", "br"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("way", WAYS)
async def test_each_failed_call_of_every_kind_leaves_one_line(
    way: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, failed = WAYS[way]
    async with serve() as served, calling(served) as upstream:
        upstream._budget._tokens = 100  # noqa: SLF001 - so that calls are retried
        await make(upstream, f"/{fault}")

    lines = warnings(caplog)
    assert len(lines) == len(caplog.records) == failed
    for facts in lines:
        assert facts["levelname"] == "WARNING"
        assert facts["upstream"] == "fake"
        assert facts["kind"] in {"UpstreamUnavailable", "UpstreamInvalid"}
        assert facts["duration_ms"] >= 0
        assert facts["attempts"] >= 1
        for name in ("upstream", "kind", "duration_ms", "attempts"):
            assert f"{name}={facts[name]}" in facts["message"]
    assert SECRET not in caplog.text
    assert served.base_url.removeprefix("http://") not in caplog.text


@pytest.mark.parametrize("way", WAYS)
async def test_a_successful_call_leaves_no_line(way: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serve() as served, calling(served) as upstream:
        served.plan.extend(["200"] if way in {"posted", "through a client"} else ["503", "200"])
        await WAYS[way][0](upstream, "/200")

    assert caplog.records == []


async def test_accepted_statuses_cancellations_and_bugs_leave_no_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serve() as served, calling(served) as upstream:
        await upstream.get("/404", accept={404})
        await upstream.client().get("/404")
        leaving = asyncio.create_task(upstream.get("/hang"))
        await served.reached(3)
        leaving.cancel()
        with suppress(asyncio.CancelledError):
            await leaving
        with suppress(ZeroDivisionError):
            await upstream.get("/", auth=lambda _: 1 / 0)  # type: ignore[arg-type]

    assert caplog.records == []


async def test_a_timeout_leaves_a_line(caplog: pytest.LogCaptureFixture) -> None:
    async with serve() as served, calling(served, max_connections=1) as upstream:
        await caught(upstream.get("/hang", timeout=0.1))
        with within(0.1):
            await caught(upstream.get("/hang"))
        with within(0.1):
            await caught(upstream.client().get("/hang"))
        arrived = served.requests
        held = asyncio.create_task(upstream.get("/held"))
        await served.reached(arrived + 1)
        await caught(upstream.get("/", timeout=0.02))
        await caught(upstream.client().get("/", timeout=httpx.Timeout(20, pool=0.01)))
        served.held.set()
        await held

    assert [(facts["kind"], facts.get("attempts")) for facts in warnings(caplog)] == [
        ("UpstreamTimeout", 1),
        ("DeadlineExceeded", 1),
        ("DeadlineExceeded", 1),
        ("UpstreamBusy", None),
        ("UpstreamBusy", None),
    ]
    assert {facts["upstream"] for facts in warnings(caplog)} == {"fake"}


async def test_the_deadline_of_a_fan_out_leaves_a_line_for_each_call(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_fan_out, "_GRACE", 10)  # for a busy machine

    async def sleeps(_: str) -> None:
        await asyncio.Event().wait()

    async with serve() as served, calling(served) as upstream:
        keys = [f"/hang?{number}" for number in range(5)]
        await fan_out(upstream.get, keys, deadline=0.1, max_concurrency=2)
        assert [facts.get("upstream") for facts in warnings(caplog)] == ["fake"] * 2 + [None] * 3
        caplog.clear()
        monkeypatch.setattr(_fan_out, "_GRACE", 0)
        await fan_out(sleeps, ["a", "b"], deadline=0.02, max_concurrency=1)

    assert [facts["kind"] for facts in warnings(caplog)] == ["DeadlineExceeded"] * 2


async def test_an_upstream_error_that_a_program_raises_is_logged_by_the_fan_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serve() as served, calling(served) as upstream:

        async def price(path: str) -> None:
            await upstream.get(path)
            name, detail = "fake", "sent a reply without a price"
            raise UpstreamInvalid(name, detail)

        await fan_out(price, ["/a", "/b"], deadline=20, max_concurrency=2)

    assert [facts["kind"] for facts in warnings(caplog)] == ["UpstreamInvalid"] * 2


async def test_a_failed_call_for_credentials_is_logged_once_with_the_issuers_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    issuer = Upstream("issuer", f"http://127.0.0.1:{free_port()}", max_retries=0)

    class Token(httpx.Auth):
        async def async_auth_flow(self, request: httpx.Request) -> "AsyncIterator[httpx.Request]":  # type: ignore[override]
            await issuer.get("/token")
            yield request

    async with serve() as served, calling(served, max_retries=0) as upstream:
        await caught(upstream.get("/", auth=Token()))

    assert [facts["upstream"] for facts in warnings(caplog)] == ["issuer"]


async def test_the_cache_and_hedges_do_not_change_the_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serve() as served, calling(served, cache=partial(open_cache, None)) as upstream:
        for _ in range(20):
            upstream._latencies.note(0)  # noqa: SLF001
        served.plan.extend(["hang", "hang-up"])
        await caught(upstream.get("/", hedge=True, timeout=0.1))
        await caught(upstream.get("/404"))

    assert [facts["kind"] for facts in warnings(caplog)] == ["UpstreamTimeout", "UpstreamRejected"]


# Floods


def flood(failed: int) -> None:
    """Log a number of failures without yielding to the event loop."""
    for _ in range(failed):
        log_failure(UpstreamUnavailable(WAREHOUSE, "answered 500", status=500))


def current_requests(caplog: pytest.LogCaptureFixture) -> tuple[ContextVar[str], list[str]]:
    """Return a variable that names the current request, and a list of its values at each line."""
    request: ContextVar[str] = ContextVar("request", default="none")
    seen: list[str] = []

    def note(_: logging.LogRecord) -> bool:
        seen.append(request.get())
        return True

    caplog.handler.addFilter(note)
    return request, seen


async def unavailable(status: int) -> None:
    raise UpstreamUnavailable(WAREHOUSE, f"answered {status}", status=status)


async def test_a_flood_of_one_kind_hides_no_other_kind_and_is_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(failures, "monotonic", lambda: now)

    await fan_out(unavailable, [500] * 1000, deadline=60, max_concurrency=10)
    assert len(caplog.records) == failures.BURST

    await fan_out(unavailable, [503], deadline=60, max_concurrency=1)
    assert "answered 503" in caplog.records[-1].getMessage()
    assert "left_out" not in vars(caplog.records[-1])

    now += 1.5
    await fan_out(unavailable, [500] * 3, deadline=60, max_concurrency=1)
    assert len(caplog.records) == failures.BURST + 2
    assert vars(caplog.records[-1])["left_out"] == 1000 - failures.BURST


async def test_omitted_lines_are_counted_after_the_flood(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, seen = current_requests(caplog)
    monkeypatch.setattr(failures, "COUNTED_AFTER", 0.01)
    monkeypatch.setattr(failures, "monotonic", lambda: 1000.0)
    request.set("of the flood")

    flood(1000)
    await asyncio.sleep(0.03)

    *lines, count = warnings(caplog)
    assert len(lines) == failures.BURST
    assert count["left_out"] == 1000 - failures.BURST
    assert (count["upstream"], count["kind"]) == (WAREHOUSE, "UpstreamUnavailable")
    assert count["message"].startswith("980 more failed calls were not logged (upstream=warehouse")
    assert seen == ["of the flood"] * len(lines) + ["none"]

    await asyncio.sleep(0.03)
    assert len(warnings(caplog)) == failures.BURST + 1


async def test_omitted_lines_are_counted_only_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(failures, "COUNTED_AFTER", 0.01)
    monkeypatch.setattr(failures, "monotonic", lambda: now)

    flood(100)
    now += 1
    flood(1)
    await asyncio.sleep(0.03)

    counted = [facts["left_out"] for facts in warnings(caplog) if "left_out" in facts]
    assert counted == [100 - failures.BURST]


def test_lines_during_a_flood_have_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(failures, "monotonic", lambda: now)
    allowance = failures.Allowance()
    for _ in range(int(failures.BURST) + 5):
        allowance.take("kind")
    written, _ = allowance.state("kind")
    now += 1
    assert allowance.take("kind") == 5
    for _ in range(3):
        assert allowance.take("kind") is None

    assert allowance.count("kind", written) == 0
    assert allowance.count("kind", written + 1) == 3
    assert allowance.count("kind", written + 1) == 0


@pytest.mark.parametrize("seed", range(5))
async def test_every_failure_is_a_line_or_is_counted_once(
    seed: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(failures, "COUNTED_AFTER", 0.005)
    monkeypatch.setattr(failures, "monotonic", lambda: now)
    made = 0
    for number in range(40):
        many = (number * 7 + seed * 13) % 30
        await fan_out(unavailable, [500] * many, deadline=60, max_concurrency=10)
        made += many
        now += ((number + seed) % 3) * 0.7
        if number % 10 == seed:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.02)

    lines = warnings(caplog)
    counted = sum(facts.get("left_out", 0) for facts in lines)
    own = [facts for facts in lines if "more failed calls" not in facts["message"]]
    assert len(own) + counted == made
    assert len(own) <= failures.BURST + failures.A_SECOND * (now - 1000)


async def test_calls_refused_by_the_breaker_do_not_hide_the_reason(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "monotonic", lambda: 1000.0)
    policy = {"breaker_failures": 1, "breaker_seconds": 60, "max_retries": 0}
    async with serve() as served, calling(served, **policy) as upstream:
        await caught(upstream.get("/reset"))
        for _ in range(100):
            await caught(upstream.get("/"))
        upstream.breaker._all.answered(is_probe=True)  # noqa: SLF001
        await caught(upstream.get("/reset"))

    reasons = [facts["reason"] for facts in warnings(caplog) if "reason" in facts]
    assert len(reasons) == 2
    assert len(warnings(caplog)) == 2 + failures.BURST


def test_without_a_loop_the_next_line_has_the_count(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(failures, "monotonic", lambda: now)
    for _ in range(50):
        log_failure(UpstreamTimeout("prices", "did not answer"))
    now += 1
    log_failure(UpstreamTimeout("prices", "did not answer"))

    assert len(caplog.records) == failures.BURST + 1
    assert vars(caplog.records[-1])["left_out"] == 50 - failures.BURST


def test_the_number_of_remembered_kinds_is_bounded() -> None:
    for number in range(2000):
        log_failure(UpstreamTimeout(f"upstream {number}", "did not answer"))

    assert len(failures._allowance._kinds) <= 500  # noqa: SLF001


def test_only_upstream_errors_and_exceeded_deadlines_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for error in (ValueError("no"), KeyboardInterrupt(), asyncio.CancelledError(), TimeoutError()):
        log_failure(error)
    error = DeadlineExceeded("late")
    log_failure(error)
    log_failure(error)

    assert [record.getMessage() for record in caplog.records] == ["late (kind=DeadlineExceeded)"]
    assert caplog.records[0].levelno == logging.WARNING


async def test_each_caller_of_a_shared_call_has_its_own_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    request, seen = current_requests(caplog)

    async def caller(name: str) -> None:
        request.set(name)
        await caught(upstream.get("/held"))

    async with serve() as served, calling(served, max_retries=0) as upstream:
        served.plan.append(fails_later := Fails())
        callers = [asyncio.create_task(caller(name)) for name in ("first", "second")]
        await served.reached(1)
        await settle()
        fails_later.now.set()
        await asyncio.gather(*callers)

    assert sorted(seen) == ["first", "second"]


class Fails:
    """Hangs up when the test sets `now`."""

    def __init__(self) -> None:
        self.now = asyncio.Event()

    async def __call__(self, _: object) -> None:  # noqa: D102
        await self.now.wait()
