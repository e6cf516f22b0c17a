"""When a request ends, the report of its end, and its ids wherever its code runs."""

import asyncio
import io
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar
from unittest import mock
from unittest.mock import AsyncMock

import httpx
import pytest
from flask import Flask, Response, g, request, send_file, stream_with_context
from flask.sessions import SecureCookieSessionInterface
from flask_asgi import (
    CLIENT_CLOSED_REQUEST,
    EndedRequest,
    FlaskToAsgi,
    add_logged_ids,
    ids_to_pass_on,
    logged_ids,
    watch_requests,
)
from hypothesis import given
from hypothesis import strategies as st

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
IDS = f"{TRACE_ID}-b7ad6b7169203331"
T = TypeVar("T")
Ended = list[EndedRequest]


@pytest.fixture
def ended() -> Ended:
    """The ended requests."""
    return []


@pytest.fixture
def app(ended: Ended) -> Flask:
    """An application whose requests are watched."""
    app = Flask("tested")
    watch_requests(app, ended.append)
    app.add_url_rule("/ok", "ok", lambda: "ok")
    return app


def under_asgi(app: Flask, use: Callable[[httpx.AsyncClient], Awaitable[T]], **options: Any) -> T:
    """Call `use` with a client of the bridged application, and return its result."""

    async def asked() -> T:
        transport = httpx.ASGITransport(app=FlaskToAsgi(app, **options))  # type: ignore[arg-type] # httpx's own types
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await asyncio.wait_for(use(client), timeout=20)

    return asyncio.run(asked())


# Ids


@pytest.mark.parametrize("given_id", ["a", "A-1_b:2", "Root=1-67891233-abc/+.", "x" * 128])
def test_a_clients_request_id_is_kept(app: Flask, ended: Ended, given_id: str) -> None:
    response = app.test_client().get("/ok", headers={"X-Request-ID": given_id})

    assert response.headers["X-Request-ID"] == given_id
    assert ended[0].ids == {"request_id": given_id}


@pytest.mark.parametrize("given_id", ["", "x" * 129, "two words", "é", 'quo"te', "a,b"])
def test_an_unsafe_request_id_is_replaced(app: Flask, given_id: str) -> None:
    response = app.test_client().get("/ok", headers={"X-Request-ID": given_id})

    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])


@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n")))
def test_no_request_id_can_forge_a_log_line_or_a_header(given_id: str) -> None:
    app = Flask("tested")
    watch_requests(app, lambda _: None)

    response = app.test_client().get("/", environ_overrides={"HTTP_X_REQUEST_ID": given_id})

    assert re.fullmatch(r"[A-Za-z0-9._:/+=-]{1,128}", response.headers["X-Request-ID"])


@pytest.mark.parametrize("traceparent", [f"00-{IDS}-01", f"01-{IDS}-00", f"cc-{IDS}-01-more"])
def test_the_trace_id_of_the_caller_is_kept(app: Flask, ended: Ended, traceparent: str) -> None:
    app.test_client().get("/ok", headers={"traceparent": traceparent})

    assert ended[0].ids["trace_id"] == TRACE_ID


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        f"ff-{IDS}-01",
        f"00-{IDS}-01-more",
        f"00-{IDS}-1",
        f"00-{IDS.upper()}-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
    ],
)
def test_an_invalid_traceparent_is_ignored(app: Flask, ended: Ended, traceparent: str) -> None:
    app.test_client().get("/ok", headers={"traceparent": traceparent})

    assert "trace_id" not in ended[0].ids


@pytest.mark.parametrize(
    ("traceparent", "tracestate", "kept"),
    [
        (f"00-{IDS}-01", "a=1, b@c=2", "a=1, b@c=2"),
        (f"00-{IDS}-01", "a=" + 511 * "x", None),
        (f"00-{IDS}-01", "a=\x7f", None),
        (f"00-{IDS}-01", "", None),
        ("", "a=1", None),
    ],
)
def test_a_tracestate_is_passed_on_with_a_valid_traceparent(
    app: Flask, traceparent: str, tracestate: str, kept: str | None
) -> None:
    passed_on: dict[str, str] = {}

    @app.get("/pass")
    async def pass_on() -> str:
        passed_on.update(ids_to_pass_on())
        return ""

    headers = {"X-Request-ID": "abc", "traceparent": traceparent, "tracestate": tracestate}
    app.test_client().get("/pass", headers=headers)

    expected = {"X-Request-ID": "abc", "traceparent": traceparent, "tracestate": kept}
    assert passed_on == {name: value for name, value in expected.items() if value}


def test_outside_a_request_there_are_no_ids(app: Flask) -> None:
    app.test_client().get("/ok", headers={"X-Request-ID": "abc"})

    assert (logged_ids(), ids_to_pass_on()) == ({}, [])
    with app.app_context():
        assert (logged_ids(), ids_to_pass_on()) == ({}, [])


def test_added_ids_are_logged_but_not_passed_on(app: Flask, ended: Ended) -> None:
    @app.get("/named")
    def named() -> list[str]:
        add_logged_ids(subject="someone")
        assert logged_ids()["subject"] == "someone"
        return [name for name, _ in ids_to_pass_on()]

    client = app.test_client()

    assert client.get("/named").json == ["X-Request-ID"]
    client.get("/ok")
    assert [each.ids.get("subject") for each in ended] == ["someone", None]


def test_requests_that_share_a_context_have_separate_ids_and_ends(app: Flask, ended: Ended) -> None:
    with app.app_context():
        responses = [app.test_client().get("/ok") for _ in range(3)]

    ids = [response.headers["X-Request-ID"] for response in responses]
    assert len({*ids}) == 3
    assert [each.ids for each in ended] == [{"request_id": each} for each in ids]


def test_changes_to_the_returned_ids_do_not_change_the_request(app: Flask, ended: Ended) -> None:
    @app.get("/change")
    def change() -> str:
        logged_ids().clear()
        ids_to_pass_on().clear()
        return ids_to_pass_on()[0][1]

    response = app.test_client().get("/change")

    assert response.text == response.headers["X-Request-ID"]
    assert ended[0].ids == {"request_id": response.text}


@pytest.mark.parametrize("path", ["/sync", "/async", "/child-task", "/thread"])
@pytest.mark.parametrize("served", [True, False])
def test_the_ids_are_available_in_views_tasks_and_threads(
    app: Flask, path: str, *, served: bool
) -> None:
    seen: list[dict[str, str]] = []

    def look() -> str:
        seen.append(logged_ids())
        return ""

    async def look_later() -> str:
        return look()

    async def in_a_child_task() -> str:
        return (await asyncio.gather(look_later()))[0]

    async def in_a_thread() -> str:
        return await asyncio.to_thread(look)

    views: dict[str, Callable[[], Any]] = {
        "/sync": look,
        "/async": look_later,
        "/child-task": in_a_child_task,
        "/thread": in_a_thread,
    }
    app.add_url_rule(path, view_func=views[path])
    headers = {"X-Request-ID": "abc", "traceparent": f"00-{IDS}-01"}

    if served:
        under_asgi(app, lambda client: client.get(path, headers=headers))
    else:
        app.test_client().get(path, headers=headers)

    assert seen == [{"request_id": "abc", "trace_id": TRACE_ID}]


def test_overlapping_requests_have_separate_ids(app: Flask) -> None:
    async def meet(client: httpx.AsyncClient) -> list[str]:
        both_inside = asyncio.Barrier(2)

        async def view() -> str:
            await both_inside.wait()
            return logged_ids()["request_id"]

        app.add_url_rule("/meet", view_func=view)
        answers = (client.get("/meet", headers={"X-Request-ID": name}) for name in ("a", "b"))
        return [response.text for response in await asyncio.gather(*answers)]

    assert under_asgi(app, meet) == ["a", "b"]


# The report of an ended request


@pytest.mark.parametrize(
    ("path", "status", "logged"),
    [
        ("/nowhere?token=s3cret", 404, "/nowhere"),
        ("/ok?token=s3cret", 405, "/ok"),
        ("/two%0Alines\u2028/\x1b[31m", 404, "/two%0Alines%E2%80%A8/%1B%5B31m"),
        ("/" + 1000 * "x", 404, "/" + 255 * "x"),
    ],
)
def test_a_request_without_a_route_has_its_path_and_not_its_query(
    app: Flask, ended: Ended, path: str, status: int, logged: str
) -> None:
    app.test_client().post(path, buffered=True)

    assert [(each.route, each.status, each.path) for each in ended] == [(None, status, logged)]


def test_a_request_with_a_route_has_its_route_and_not_its_path(app: Flask, ended: Ended) -> None:
    app.add_url_rule("/users/<name>", "user", lambda name: name)

    app.test_client().get("/users/ann?token=s3cret")

    [each] = ended
    assert (each.method, each.route, each.path) == ("GET", "/users/<name>", None)
    assert (each.status, each.client) == (200, "127.0.0.1")
    assert each.duration_ms >= 0


def test_a_long_method_is_truncated(app: Flask, ended: Ended) -> None:
    app.test_client().open("/ok", method=1000 * "X", buffered=True)

    assert ended[0].method == 32 * "X"


# Each request ends once


@pytest.mark.parametrize("path", ["/sync", "/async", "/plain", "/async-parts"])
def test_a_stream_ends_when_its_last_part_is_sent(app: Flask, ended: Ended, path: str) -> None:
    def parts() -> Iterator[str]:
        yield "a"
        assert not ended
        yield "b"

    async def async_parts() -> Any:
        for part in parts():
            yield part

    def parts_with_context() -> Iterator[str]:
        yield from parts()
        yield request.path

    async def in_async_view() -> Response:
        return Response(stream_with_context(parts_with_context()))

    async def async_stream() -> Any:
        return app.response_class(async_parts())

    app.add_url_rule("/plain", "plain", lambda: Response(parts()))
    app.add_url_rule("/sync", "sync", lambda: Response(stream_with_context(parts_with_context())))
    app.add_url_rule("/async", "async", in_async_view)
    app.add_url_rule("/async-parts", "async_parts", async_stream)

    response = under_asgi(app, lambda client: client.get(path))

    assert response.text.startswith("ab")
    [each] = ended
    assert (each.route, each.status, each.is_complete) == (path, 200, True)
    assert each.bytes_sent == len(response.content)


def test_a_stream_ends_once_at_a_disconnect(app: Flask, ended: Ended) -> None:
    async def leave(client: httpx.AsyncClient) -> None:
        begun = asyncio.Event()

        async def endless() -> Any:
            async def parts() -> Any:
                yield "a"
                begun.set()
                await asyncio.Event().wait()

            return app.response_class(parts())

        app.add_url_rule("/endless", view_func=endless)
        asking = asyncio.create_task(client.get("/endless"))
        await begun.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    under_asgi(app, leave)

    [each] = ended
    assert (each.route, each.status) == ("/endless", 200)
    assert (each.bytes_sent, each.is_complete) == (1, False)


def test_an_error_after_a_returned_stream_ends_the_request_once(app: Flask, ended: Ended) -> None:
    @app.after_request
    def fail(response: Response) -> Response:
        if response.is_streamed:
            raise RuntimeError
        return response

    app.add_url_rule("/stream", "stream", lambda: Response(iter(["a"])))

    app.test_client().get("/stream")

    assert [each.status for each in ended] == [500]


def test_a_file_response_ends_the_request_once(app: Flask, ended: Ended) -> None:
    app.add_url_rule("/file", "file", lambda: send_file(__file__))

    app.test_client().get("/file", buffered=True)

    assert [each.status for each in ended] == [200]


def test_a_response_without_before_request_hooks_has_an_id_and_ends_once(
    app: Flask, ended: Ended
) -> None:
    headers = {"X-Request-ID": "abc", "traceparent": f"00-{IDS}-01"}
    with app.test_request_context("/nowhere?token=s3cret", headers=headers):
        response = app.process_response(Response("Too many.", 503))

    [each] = ended
    assert response.headers["X-Request-ID"] == "abc"
    assert each.ids == {"request_id": "abc", "trace_id": TRACE_ID}
    assert (each.status, each.path) == (503, "/nowhere")


def test_a_disconnected_request_has_status_499(app: Flask, ended: Ended) -> None:
    async def leave() -> None:
        inside = asyncio.Event()

        async def hang() -> str:
            inside.set()
            await asyncio.Event().wait()
            return ""

        app.add_url_rule("/hang", view_func=hang)
        messages: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        messages.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        scope = {"type": "http", "http_version": "1.1", "method": "GET", "path": "/hang"} | {
            "query_string": b"",
            "headers": [],
        }
        serving = FlaskToAsgi(app)(scope, messages.get, AsyncMock())  # type: ignore[arg-type] # plain dicts
        task = asyncio.create_task(serving)
        await inside.wait()
        messages.put_nowait({"type": "http.disconnect"})
        await task

    asyncio.run(leave())

    [each] = ended
    assert (each.route, each.status) == ("/hang", CLIENT_CLOSED_REQUEST)
    assert (each.bytes_sent, each.is_complete) == (0, False)


def test_a_timed_out_request_has_status_504(app: Flask, ended: Ended) -> None:
    async def hang() -> str:
        await asyncio.Event().wait()
        return ""

    app.add_url_rule("/hang", view_func=hang)

    response = under_asgi(app, lambda client: client.get("/hang"), request_timeout=0.01)

    assert response.status_code == 504
    assert [(each.route, each.status) for each in ended] == [("/hang", 504)]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("served", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        "x" * 100_000,
        "",
        {"a": "é"},
        ("", 204),
        ("", 304),
        ("refused", 503),
        "a file",
    ],
    ids=str,
)
def test_the_reported_bytes_are_the_sent_bytes(
    app: Flask, ended: Ended, answer: Any, method: str, *, served: bool
) -> None:
    def view() -> Any:
        return send_file(__file__) if answer == "a file" else answer

    app.add_url_rule("/answer", view_func=view)

    if served:
        response = under_asgi(app, lambda client: client.request(method, "/answer"))
        sent = len(response.content)
    else:
        sent = len(app.test_client().open("/answer", method=method, buffered=True).data)

    assert [(each.bytes_sent, each.is_complete) for each in ended] == [(sent, True)]


@pytest.mark.parametrize("is_async", [True, False])
def test_a_file_response_ends_when_the_file_is_sent(
    app: Flask, ended: Ended, *, is_async: bool
) -> None:
    class Part(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert not ended
            return super().read(size)

    def view() -> Response:
        return send_file(Part(200_000 * b"x"), "text/plain")

    async def async_view() -> Response:
        return view()

    app.add_url_rule("/file", "file", async_view if is_async else view)

    response = under_asgi(app, lambda client: client.get("/file"))

    assert len(response.content) == 200_000
    assert [(each.bytes_sent, each.is_complete) for each in ended] == [(200_000, True)]


def test_a_failed_stream_is_not_complete(app: Flask, ended: Ended) -> None:
    @app.get("/breaks")
    async def breaks() -> Any:
        async def parts() -> Any:
            yield "abc"
            raise ZeroDivisionError

        return app.response_class(parts())

    with pytest.raises(ZeroDivisionError):
        under_asgi(app, lambda client: client.get("/breaks"))

    [each] = ended
    assert (each.status, each.bytes_sent, each.is_complete) == (200, 3, False)


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("served", [True, False])
def test_a_failed_session_save_ends_the_request_once(
    app: Flask, ended: Ended, *, streamed: bool, served: bool
) -> None:
    class Failing(SecureCookieSessionInterface):
        def save_session(self, _app: Flask, _session: object, response: Response) -> None:
            if response.status_code == 200:
                raise OSError

    app.secret_key = "x"  # noqa: S105 - not a secret
    app.session_interface = Failing()
    app.add_url_rule("/save", "save", lambda: iter("ab") if streamed else "ab")

    if served:
        response = under_asgi(app, lambda client: client.get("/save"))
        assert response.status_code == 500
    else:
        assert app.test_client().get("/save", buffered=True).status_code == 500

    assert [each.status for each in ended] == [500]


def test_middleware_that_copies_the_environ_changes_nothing(app: Flask, ended: Ended) -> None:
    wsgi_app = app.wsgi_app
    vars(app)["wsgi_app"] = lambda environ, start: wsgi_app(dict(environ), start)

    under_asgi(app, lambda client: client.get("/ok"))

    assert [(each.status, each.bytes_sent) for each in ended] == [(200, 2)]


def test_the_duration_includes_a_slow_body(app: Flask, ended: Ended) -> None:
    async def upload() -> None:
        messages: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/ok"} | {
            "query_string": b"",
            "headers": [(b"content-length", b"1")],
        }
        clock = iter(range(1, 1000))

        def now() -> float:
            return next(clock)

        with mock.patch("time.perf_counter", now):
            serving = FlaskToAsgi(app)(scope, messages.get, AsyncMock())  # type: ignore[arg-type] # plain dicts
            task = asyncio.create_task(serving)
            await asyncio.sleep(0)
            clock = iter(range(5000, 6000))
            messages.put_nowait({"type": "http.request", "body": b"x", "more_body": False})
            await task

    asyncio.run(upload())

    assert [each.duration_ms >= 4_000_000 for each in ended] == [True]


def test_a_pushed_request_context_is_not_reported_as_a_request(app: Flask, ended: Ended) -> None:
    with app.test_request_context("/ok"):
        assert not [*g]

    assert ended == []
