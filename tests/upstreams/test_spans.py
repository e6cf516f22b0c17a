"""The spans of attempts: one for each, below its caller's span, with their attributes."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as otel
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from upstreams import Upstream, UpstreamError, attempt_spans, fan_out, within
from upstreams import _retries as retries

from tests.spans import Spans, Tree, attributes, everything_in

from . import helpers
from .fake_upstream import OK, FakeUpstream, http_reply, serve

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_BACKOFF", 0)


@pytest.fixture
def spans() -> Spans:
    return Spans()


@asynccontextmanager
async def calling(served: FakeUpstream, spans: Spans, **policy: Any) -> AsyncIterator[Upstream]:  # noqa: ANN401
    """Open a client whose attempts are spans."""
    async with helpers.calling(served, trace=attempt_spans(spans.provider), **policy) as upstream:
        yield upstream


def outcome(span: ReadableSpan) -> str:
    """Name a span by its outcome and by the number of earlier attempts."""
    known = attributes(span)
    ended = known.get("error.type") or known.get("http.response.status_code") or span.name
    again = known.get("http.request.resend_count")
    return f"{ended} again {again}" if again else str(ended)


def header(head: str, name: str) -> str | None:
    """Return a header of a request that the upstream got."""
    found = re.search(rf"^{name}: (.*?)\r?$", head, re.MULTILINE | re.IGNORECASE)
    return found and found[1]


# Names and attributes


async def test_an_attempt_is_a_client_span_without_secrets(spans: Spans) -> None:
    async with serve() as served:
        base = served.base_url.replace("://", "://user:s3cret@") + "/api?key=s3cret"
        upstream = Upstream("prices", base, trace=attempt_spans(spans.provider))
        headers = {"Authorization": "Bearer s3cret", "Cookie": "id=s3cret"}
        with suppress(UpstreamError):
            await upstream.get("/200", params={"token": "s3cret"}, headers=headers)

    span = spans.only()
    port = int(served.base_url.rpartition(":")[2])
    assert (span.name, span.kind) == ("GET", SpanKind.CLIENT)
    assert span.attributes is not None
    assert {
        "http.request.method": "GET",
        "peer.service": "prices",
        "url.full": f"{served.base_url}/api/200",
        "server.address": "127.0.0.1",
        "server.port": port,
    }.items() <= dict(span.attributes).items()
    assert "s3cret" not in everything_in(span)


@pytest.mark.parametrize(
    ("path", "expected", "status"),
    [
        ("/200", None, 200),
        ("/404", "UpstreamRejected", 404),
        ("/503", "UpstreamUnavailable", 503),
        ("/hang-up", "UpstreamUnavailable", None),
        ("/not-http", "UpstreamInvalid", None),
    ],
)
@pytest.mark.parametrize("through", ["get", "stream", "client"])
async def test_the_outcome_of_an_attempt_is_in_its_span(
    spans: Spans, path: str, expected: str | None, status: int | None, through: str
) -> None:
    async with serve() as served, calling(served, spans, max_retries=0) as upstream:
        with suppress(UpstreamError, httpx.HTTPError):
            if through == "get":
                await upstream.get(path)
            elif through == "stream":
                async with upstream.stream("GET", path) as response:
                    await response.aread()
            else:
                async with upstream.client() as client:
                    await client.get(path)

    span = spans.only()
    assert attributes(span).get("error.type") == expected
    assert attributes(span).get("http.response.status_code") == status
    failed = StatusCode.UNSET if expected is None else StatusCode.ERROR
    assert span.status.status_code is failed


async def test_an_unknown_method_is_named_as_the_conventions_say(spans: Spans) -> None:
    async with serve() as served, calling(served, spans) as upstream:
        await upstream.request("BREW", "/200")

    assert spans.only().name == "HTTP"
    assert attributes(spans.only())["http.request.method"] == "_OTHER"


# The trees


@asynccontextmanager
async def request_span(spans: Spans, name: str = "request") -> AsyncIterator[None]:
    """Make a span current, as the span of a request is."""
    with spans.provider.get_tracer("tests").start_as_current_span(name):
        yield


async def test_concurrent_calls_are_children_of_their_request(spans: Spans) -> None:
    async with serve() as served, calling(served, spans) as upstream, request_span(spans):
        await asyncio.gather(*(upstream.get(f"/200?{number}") for number in range(3)))
        await fan_out(upstream.get, ["/200?4", "/200?5"], deadline=20, max_concurrency=2)
        async with asyncio.TaskGroup() as group:
            group.create_task(upstream.get("/200?6"))

    assert spans.trees(outcome) == [("request", [("200", [])] * 6)]


async def test_a_retry_is_a_sibling_of_the_first_attempt(spans: Spans) -> None:
    async with serve() as served, calling(served, spans, retry_share=1) as upstream:
        served.plan.extend([http_reply(status=503), OK])
        async with request_span(spans):
            await upstream.get("/200")

    expected: list[Tree] = [("200 again 1", []), ("UpstreamUnavailable", [])]
    assert spans.trees(outcome) == [("request", expected)]
    assert header(served.heads[0], "traceparent") != header(served.heads[1], "traceparent")


async def test_a_hedge_is_a_sibling_of_the_slower_attempt(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upstreams._hedging.ENOUGH", 1)
    async with serve() as served, calling(served, spans, retry_share=1) as upstream:
        await upstream.get("/200")
        served.plan.extend(["hang", OK])
        async with request_span(spans):
            await upstream.get("/200", hedge=True)

    assert spans.trees(outcome)[1:] == [("request", [("200 again 1", []), ("CancelledError", [])])]


async def test_a_shared_call_is_a_child_of_its_first_caller(spans: Spans) -> None:
    async with serve() as served, calling(served, spans) as upstream:

        async def call(name: str) -> None:
            async with request_span(spans, name):
                await upstream.get("/held")

        first = asyncio.create_task(call("first"))
        await served.arrived.wait()
        second = asyncio.create_task(call("second"))
        await helpers.settle()
        served.held.set()
        await asyncio.gather(first, second)

    assert spans.trees(outcome) == [("first", [("200", [])]), ("second", [])]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("cancel", "CancelledError"),
        ("deadline", "DeadlineExceeded"),
        ("timeout", "UpstreamTimeout"),
    ],
)
async def test_the_span_of_a_cut_off_attempt_has_the_reason(
    spans: Spans, how: str, expected: str
) -> None:
    async with serve() as served, calling(served, spans) as upstream:

        async def call() -> None:
            async with request_span(spans):
                with within(0.05 if how == "deadline" else 20):
                    await upstream.get("/hang", timeout=0.05 if how == "timeout" else 20)

        calling_it = asyncio.create_task(call())
        if how == "cancel":
            await served.arrived.wait()
            calling_it.cancel()
        await asyncio.gather(calling_it, return_exceptions=True)

    assert spans.trees(outcome) == [("request", [(expected, [])])]


# The headers


async def test_the_span_of_an_attempt_is_the_upstreams_parent(spans: Spans) -> None:
    async with serve() as served:
        given = [("traceparent", f"00-{'a' * 32}-{'b' * 16}-01"), ("X-Request-ID", "abc")]
        async with calling(served, spans, pass_on=lambda: given) as upstream:
            await upstream.get("/200")

    span = spans.only()
    assert span.context is not None
    ids = f"{span.context.trace_id:032x}-{span.context.span_id:016x}"
    assert re.fullmatch(f"00-{ids}-0[13]", header(served.heads[0], "traceparent") or "")
    assert header(served.heads[0], "X-Request-ID") == "abc"


async def test_baggage_and_the_sampling_decision_are_passed_on() -> None:
    spans = Spans(ALWAYS_OFF)
    token = otel.attach(baggage.set_baggage("tenant", "acme"))
    try:
        async with serve() as served, calling(served, spans) as upstream:
            await upstream.get("/200")
    finally:
        otel.detach(token)

    assert spans.trees() == []
    assert header(served.heads[0], "baggage") == "tenant=acme"
    assert re.fullmatch(r"00-\w{32}-\w{16}-0[02]", header(served.heads[0], "traceparent") or "")


async def test_the_span_is_current_in_its_attempt_and_not_after_it(spans: Spans) -> None:
    seen: list[int] = []

    class Transport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, _request: httpx.Request) -> httpx.Response:
            seen.append(trace.get_current_span().get_span_context().span_id)
            return httpx.Response(200)

    upstream = helpers.stubbed(Transport(), trace=attempt_spans(spans.provider))
    async with upstream.open():
        await upstream.get("/200", auth=("a", "b"))

    assert seen == [spans.only().context.span_id]
    assert not trace.get_current_span().get_span_context().is_valid
