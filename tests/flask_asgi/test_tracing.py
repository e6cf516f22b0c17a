"""The span of a request: its parent, its end, and that it covers all code of the request."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from flask import Flask, Response, abort, stream_with_context
from flask_asgi import (
    Background,
    FlaskToAsgi,
    background_spans,
    logged_ids,
    on_loop,
    trace_requests,
    watch_requests,
)
from flask_asgi._threads import ThreadPool
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from tests.spans import Spans, attributes, everything_in

from .asgi_client import Client, ask, both_kinds, http_scope, on_both_paths

pytestmark = pytest.mark.anyio

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
PARENT = (b"traceparent", f"00-{TRACE_ID}-{SPAN_ID}-01".encode())


@pytest.fixture
def app() -> Flask:
    return Flask("tested")


@pytest.fixture
def spans(app: Flask) -> Spans:
    spans = Spans()
    trace_requests(app, spans.provider, excluded="^/livez$,^/readyz$")
    return spans


def current() -> str:
    return trace.format_span_id(trace.get_current_span().get_span_context().span_id)


def id_of(span: Any) -> str:
    return trace.format_span_id(span.context.span_id)


# Names and attributes


async def test_a_request_is_one_span_with_its_route(app: Flask, spans: Spans) -> None:
    app.add_url_rule("/users/<name>", "user", lambda name: name)

    agent = (b"user-agent", b"curl/8")
    await ask(app, http_scope("/users/ann", agent, query_string=b"token=s3cret"))

    span = spans.only()
    assert (span.name, span.kind) == ("GET /users/<name>", SpanKind.SERVER)
    assert span.status.status_code is StatusCode.UNSET
    assert span.parent is None
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": "/users/<name>",
        "http.response.status_code": 200,
        "url.path": "/users/ann",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "client.address": "127.0.0.1",
        "server.address": "127.0.0.1",
        "server.port": 8000,
        "user_agent.original": "curl/8",
    }
    assert "s3cret" not in everything_in(span)


@pytest.mark.parametrize(
    ("scope", "name", "status"),
    [
        (http_scope("/nowhere"), "GET", 404),
        (http_scope("/async", method="PUT"), "PUT", 405),
        (http_scope("/async", method="BREW"), "HTTP", 405),
    ],
)
async def test_a_request_without_a_route_is_named_by_its_method(
    app: Flask, spans: Spans, scope: dict[str, Any], name: str, status: int
) -> None:
    both_kinds(app, lambda: "ok")

    await ask(app, scope)

    span = spans.only()
    assert name == span.name
    assert status == attributes(span)["http.response.status_code"]
    assert "http.route" not in attributes(span)
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span).get("http.request.method_original") == (
        "BREW" if name == "HTTP" else None
    )


@on_both_paths
async def test_an_error_of_a_view_is_recorded_without_its_message(
    app: Flask, spans: Spans, path: str
) -> None:
    def fail() -> str:
        message = "s3cret"
        raise LookupError(message)

    both_kinds(app, fail)

    assert (await ask(app, http_scope(path)))[0] == 500
    span = spans.only()
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "LookupError"
    assert attributes(span)["http.response.status_code"] == 500
    [event] = span.events
    assert event.name == "exception"
    assert event.attributes is not None
    assert event.attributes["exception.type"] == "LookupError"
    assert "in fail" in str(event.attributes["exception.stacktrace"])
    assert "s3cret" not in everything_in(span)


@on_both_paths
async def test_a_503_response_of_a_view_is_an_error_without_an_exception_event(
    app: Flask, spans: Spans, path: str
) -> None:
    both_kinds(app, lambda: abort(503))

    await ask(app, http_scope(path))

    span = spans.only()
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "503"
    assert not span.events


@pytest.mark.parametrize(
    ("scope", "options", "status"),
    [
        (http_scope("/async"), {"max_in_flight": 0}, 503),
        (http_scope("/async", *[(b"x-a", b"")] * 101), {}, 400),
    ],
)
async def test_a_refused_request_has_a_span(
    app: Flask, spans: Spans, scope: dict[str, Any], options: dict[str, Any], status: int
) -> None:
    both_kinds(app, lambda: "ok")

    assert (await ask(app, scope, **options))[0] == status

    span = spans.only()
    assert span.name == "GET /async"
    assert attributes(span)["http.response.status_code"] == status
    assert attributes(span).get("error.type") == ("503" if status == 503 else None)


@on_both_paths
async def test_long_values_of_a_client_are_truncated(app: Flask, spans: Spans, path: str) -> None:
    both_kinds(app, lambda: "ok")
    long = b"x" * 5000

    await ask(app, http_scope(path, (b"user-agent", long)))
    await ask(app, http_scope("/" + 5000 * "x", method=5000 * "X"))

    for span in spans.ended:
        assert all(len(value) <= 256 for value in attributes(span).values() if value is str(value))
        assert len(span.name) <= 256


# Where it is current


@on_both_paths
async def test_all_code_of_a_request_is_inside_its_span(
    app: Flask, spans: Spans, path: str
) -> None:
    seen: dict[str, str] = {}

    def look(place: str) -> None:
        seen[place] = current()

    @app.before_request
    @on_loop
    def before() -> None:
        look("before")

    @app.after_request
    @on_loop
    def after(response: Response) -> Response:
        look("after")
        return response

    @app.teardown_request
    @on_loop
    def teardown(_error: BaseException | None) -> None:
        look("teardown")

    @app.errorhandler(KeyError)
    def handler(_error: KeyError) -> Any:
        look("handler")

        def parts() -> Iterator[str]:
            look("stream")
            yield "a"

        return Response(stream_with_context(parts()))

    def view() -> str:
        look("view")
        raise KeyError

    both_kinds(app, view)

    await ask(app, http_scope(path))

    places = {"before", "view", "handler", "after", "stream", "teardown"}
    assert seen == dict.fromkeys(places, id_of(spans.only()))


async def test_the_span_is_current_in_tasks_and_threads_of_a_view(app: Flask, spans: Spans) -> None:
    async def in_task() -> str:
        return current()

    @app.get("/")
    async def view() -> list[str]:
        return [
            *await asyncio.gather(in_task(), in_task()),
            await asyncio.to_thread(current),
            await asyncio.create_task(in_task()),
        ]

    _, body = await ask(app, http_scope("/"))

    assert body.count(id_of(spans.only()).encode()) == 4


async def test_overlapping_requests_have_separate_spans(app: Flask, spans: Spans) -> None:
    all_inside = asyncio.Barrier(3)
    tracer = spans.provider.get_tracer("views")

    @app.get("/<name>")
    async def view(name: str) -> str:
        with tracer.start_as_current_span(name):
            await all_inside.wait()
        return name

    asgi = FlaskToAsgi(app)
    await asyncio.gather(*(ask(asgi, http_scope(f"/{name}")) for name in "abc"))

    assert spans.trees() == [("GET /<name>", [(name, [])]) for name in "abc"]


async def test_the_servers_context_has_no_span_after_a_request(app: Flask, spans: Spans) -> None:
    both_kinds(app, lambda: "ok")

    await FlaskToAsgi(app)(
        http_scope("/async"),  # type: ignore[arg-type] # a plain dict
        _request_once(),
        _ignore,
    )

    assert not trace.get_current_span().get_span_context().is_valid
    assert len(spans.ended) == 1


async def test_async_views_stay_on_the_loop(
    app: Flask, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ThreadPool, "run", None)
    watch_requests(app, lambda _: None)
    both_kinds(app, lambda: str(threading.get_ident()))

    assert await ask(app, http_scope("/async")) == (200, str(threading.get_ident()).encode())
    assert spans.trees() == [("GET /async", [])]


# When it ends


async def async_parts(ended: list[int], spans: Spans) -> AsyncIterator[str]:
    for part in "ab":
        ended.append(len(spans.ended))
        yield part


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_the_span_of_a_stream_ends_with_the_stream(
    app: Flask, spans: Spans, kind: str
) -> None:
    ended: list[int] = []

    def parts() -> Iterator[str]:
        for part in "ab":
            ended.append(len(spans.ended))
            yield part

    async def async_view() -> Any:
        return async_parts(ended, spans)

    app.add_url_rule("/", view_func=parts if kind == "sync" else async_view)

    assert (await ask(app, http_scope("/")))[1] == b"ab"
    assert ended == [0, 0]
    assert spans.trees() == [("GET /", [])]
    assert spans.only().status.status_code is StatusCode.UNSET


async def test_the_span_of_a_broken_stream_has_its_status_and_its_error(
    app: Flask, spans: Spans
) -> None:
    @app.get("/")
    async def view() -> Any:
        async def parts() -> AsyncIterator[str]:
            yield "a"
            message = "s3cret"
            raise LookupError(message)

        return parts()

    with suppress(LookupError):
        await ask(app, http_scope("/"))

    span = spans.only()
    assert attributes(span)["http.response.status_code"] == 200
    assert attributes(span)["error.type"] == "LookupError"
    assert span.status.status_code is StatusCode.ERROR
    assert "s3cret" not in everything_in(span)


@pytest.mark.parametrize("stage", ["view", "stream"])
async def test_a_disconnect_is_an_error_without_a_traceback(
    app: Flask, spans: Spans, stage: str
) -> None:
    inside = asyncio.Event()

    @app.get("/")
    async def view() -> Any:
        async def parts() -> AsyncIterator[str]:
            yield "a"
            inside.set()
            await asyncio.Event().wait()

        if stage == "stream":
            return parts()
        inside.set()
        return await asyncio.Event().wait()

    client = Client(FlaskToAsgi(app), http_scope("/"))
    client.send_body()
    await inside.wait()
    client.received.put_nowait({"type": "http.disconnect"})
    await client.done

    span = spans.only()
    status = 200 if stage == "stream" else None
    assert span.name == "GET /"
    assert attributes(span).get("http.response.status_code") == status
    assert attributes(span)["error.type"] == "CancelledError"
    assert span.status.status_code is StatusCode.ERROR
    assert not span.events


async def test_a_disconnect_before_the_body_arrives_is_an_error(app: Flask, spans: Spans) -> None:
    client = Client(FlaskToAsgi(app), http_scope("/", (b"content-length", b"5"), method="POST"))
    client.received.put_nowait({"type": "http.disconnect"})
    await client.done

    assert attributes(spans.only())["error.type"] == "CancelledError"


async def test_the_span_of_a_timeout_has_status_504(app: Flask, spans: Spans) -> None:
    @app.get("/")
    async def view() -> str:
        await asyncio.Event().wait()
        return ""

    assert (await ask(app, http_scope("/"), request_timeout=0.01))[0] == 504

    span = spans.only()
    assert attributes(span)["http.response.status_code"] == 504
    assert attributes(span)["error.type"] == "504"


async def test_the_span_of_background_work_is_a_child_and_may_end_later(
    app: Flask, spans: Spans
) -> None:
    background = Background()
    background.trace = background_spans(spans.provider)
    release = asyncio.Event()

    async def work() -> None:
        await release.wait()

    async def failing() -> None:
        message = "s3cret"
        raise LookupError(message)

    @app.get("/")
    async def view() -> str:
        background.start(work())
        background.start(failing())
        return ""

    background.open()
    await ask(app, http_scope("/"))
    assert "GET /" in {span.name for span in spans.ended}
    release.set()
    await background.close(grace=10)

    [(name, below)] = spans.trees()
    assert name == "GET /"
    assert [each.rpartition(".")[2] for each, _ in below] == ["failing", "work"]
    failed = next(span for span in spans.ended if span.name.endswith("failing"))
    assert failed.status.status_code is StatusCode.ERROR
    assert "s3cret" not in everything_in(failed)


# Parents, sampling and excluded paths


@pytest.mark.parametrize(
    ("headers", "parent"),
    [
        ([PARENT], SPAN_ID),
        ([], None),
        ([(b"traceparent", b"nonsense")], None),
        ([(b"traceparent", PARENT[1].replace(b"00-", b"ff-", 1))], None),
    ],
)
async def test_the_parent_comes_from_the_traceparent_header(
    app: Flask, spans: Spans, headers: list[tuple[bytes, bytes]], parent: str | None
) -> None:
    both_kinds(app, lambda: "ok")

    await ask(app, http_scope("/async", *headers))

    above = spans.only().parent
    assert parent == (None if above is None else trace.format_span_id(above.span_id))
    if parent is not None:
        assert trace.format_trace_id(spans.only().context.trace_id) == TRACE_ID


async def test_an_unsampled_trace_of_a_caller_has_no_spans(app: Flask, spans: Spans) -> None:
    both_kinds(app, lambda: "ok")

    await ask(app, http_scope("/async", (PARENT[0], PARENT[1][:-1] + b"0")))

    assert spans.trees() == []


@pytest.mark.parametrize("headers", [[], [PARENT]])
async def test_an_excluded_path_has_no_span_and_no_child_spans(
    app: Flask, spans: Spans, headers: list[tuple[bytes, bytes]]
) -> None:
    tracer = spans.provider.get_tracer("views")

    async def view() -> str:
        with tracer.start_as_current_span("below"):
            return "ok"

    app.add_url_rule("/livez", "livez", view)
    app.add_url_rule("/prices", "prices", view)
    await ask(app, http_scope("/livez", *headers))
    assert spans.trees() == []

    # Clients choose the query, so it must not exclude a request.
    await ask(app, http_scope("/prices", *headers, query_string=b"x=/livez"))
    assert spans.trees() == [("GET /prices", [("below", [])])]


@pytest.mark.parametrize(
    "variable", ["OTEL_PYTHON_FLASK_EXCLUDED_URLS", "OTEL_PYTHON_EXCLUDED_URLS"]
)
async def test_an_environment_variable_excludes_paths(
    app: Flask, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "async, /nowhere")
    spans = Spans()
    trace_requests(app, spans.provider, excluded="sync")
    both_kinds(app, lambda: "ok")

    for path in ("/async", "/nowhere/else", "/sync"):
        await ask(app, http_scope(path))

    assert [name for name, _ in spans.trees()] == ["GET /sync"]


def test_an_invalid_pattern_is_reported_in_one_sentence(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", "a(")

    with pytest.raises(ValueError, match=r"^OTEL_PYTHON_EXCLUDED_URLS: .+; accepted: regular"):
        trace_requests(app, Spans().provider)


names = st.sampled_from([b"traceparent", b"tracestate", b"baggage", b"user-agent", b"x-a"])
values = st.one_of(
    st.binary(max_size=60),
    st.from_regex(rb"[a-z0-9=;,% -]{0,40}", fullmatch=True),
    st.just(PARENT[1]),
)


@settings(max_examples=60)
@given(
    headers=st.lists(st.tuples(names, values), max_size=6),
    path=st.text(max_size=20).map(lambda text: f"/{text}"),
    method=st.one_of(
        st.sampled_from(["GET", "POST"]), st.text("AZ\u00e4", min_size=1, max_size=40)
    ),
)
def test_no_request_of_a_client_breaks_its_span(
    headers: list[tuple[bytes, bytes]], path: str, method: str
) -> None:
    app = Flask("tested")
    spans = Spans()
    trace_requests(app, spans.provider)
    scope = http_scope("/", *headers, method=method) | {"path": path, "raw_path": None}
    expected = asyncio.run(ask(Flask("tested"), dict(scope)))

    assert expected == asyncio.run(ask(app, scope))
    for span in spans.ended:
        span.to_json()
        assert attributes(span)["http.request.method"] in {"GET", "POST", "_OTHER"}


# The log


@pytest.mark.parametrize(
    "header",
    [
        (b"baggage", b";;;,=,s3cret"),
        (b"baggage", b"a=" + 9000 * b"x"),
        (b"baggage", b",".join(b"a=1" for _ in range(300))),
        (b"tracestate", b"=,a=\xff,s3cret"),
        (b"traceparent", b"s3cret"),
    ],
)
async def test_invalid_headers_of_a_client_are_not_logged(
    app: Flask, spans: Spans, header: tuple[bytes, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    both_kinds(app, lambda: "ok")

    await ask(app, http_scope("/async", *dict([PARENT, header]).items()))

    assert not caplog.records
    assert len(spans.ended) == 1


@on_both_paths
@pytest.mark.parametrize("sampler", [None, ALWAYS_OFF])
async def test_a_log_line_has_the_ids_of_the_current_span(
    app: Flask, path: str, sampler: Any
) -> None:
    spans = Spans(sampler)
    trace_requests(app, spans.provider)
    ended: list[Any] = []
    watch_requests(app, ended.append)
    tracer = spans.provider.get_tracer("views")
    seen: list[dict[str, str]] = []

    def view() -> str:
        seen.append(logged_ids())
        with tracer.start_as_current_span("inner"):
            seen.append(logged_ids())
        return "ok"

    both_kinds(app, view)
    await ask(app, http_scope(path, (b"x-request-id", b"abc"), PARENT))

    outer, inner = seen
    assert ended[0].ids == outer
    assert {each["trace_id"] for each in seen} == {TRACE_ID}
    assert {each["request_id"] for each in seen} == {"abc"}
    assert len({SPAN_ID, outer["span_id"], inner["span_id"]}) == 3
    if sampler is None:
        assert [inner["span_id"], outer["span_id"]] == [id_of(span) for span in spans.ended]


async def test_without_tracing_the_logged_ids_come_from_the_headers(app: Flask) -> None:
    watch_requests(app, lambda _: None)
    both_kinds(app, lambda: str(sorted(logged_ids().items())))

    _, body = await ask(app, http_scope("/async", (b"x-request-id", b"abc"), PARENT))

    assert body.decode() == str([("request_id", "abc"), ("trace_id", TRACE_ID)])


def _request_once() -> Any:
    sent = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Any:
        for message in sent:
            return message
        return await asyncio.Event().wait()

    return receive


async def _ignore(_message: Any) -> None:
    pass
