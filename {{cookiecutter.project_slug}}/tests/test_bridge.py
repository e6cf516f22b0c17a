"""What Flask sees of an ASGI request and what a server gets back, message by message."""

import asyncio
import contextlib
import contextvars
import gc
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from blockbuster import BlockingError
from flask import Flask, Response, abort, after_this_request, current_app, request
from flask.views import MethodView
from flask_asgi._bridge import FlaskToAsgi
from flask_asgi._threads import ThreadPool
from werkzeug.exceptions import ClientDisconnected

pytestmark = pytest.mark.anyio


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    app.testing = True
    return app


@pytest.fixture
def hosted() -> Flask:
    return Flask(__name__, host_matching=True, static_host="static.example.com")


def http_scope(path: str = "/", *headers: tuple[bytes, bytes], **scope: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
    } | scope


class Client:
    """A server's side of one ASGI scope: what the application receives, and what it sent."""

    def __init__(self, bridge: FlaskToAsgi, scope: dict[str, Any]) -> None:
        self.received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.done = asyncio.create_task(bridge(scope, self.received.get, self.sent.put))  # type: ignore[arg-type] # plain dicts

    async def next_sent(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            return await self.sent.get()


async def messages(
    app: Flask, scope: dict[str, Any], *body: bytes, **options: Any
) -> list[dict[str, Any]]:
    """Return every message that the bridge sends in answer to a request."""
    client = Client(FlaskToAsgi(app, **options), scope)
    parts = list(body) or [b""]
    for number, part in enumerate(parts, start=1):
        more = number < len(parts)
        client.received.put_nowait({"type": "http.request", "body": part, "more_body": more})
    async with asyncio.timeout(10):
        await client.done
    return [client.sent.get_nowait() for _ in range(client.sent.qsize())]


async def ask(app: Flask, scope: dict[str, Any], *body: bytes, **options: Any) -> tuple[int, bytes]:
    start, *bodies = await messages(app, scope, *body, **options)
    return start["status"], b"".join(message["body"] for message in bodies)


def both_kinds(app: Flask, answer: Callable[[], Any], **options: Any) -> None:
    """Let ``/async`` and ``/sync`` give the same answer, one on the loop, one in a thread."""

    @app.route("/async", **options)
    async def async_view() -> Any:
        return answer()

    @app.route("/sync", **options)
    def sync_view() -> Any:
        return answer()


def request_data() -> bytes:
    return request.get_data()


on_both_paths = pytest.mark.parametrize("path", ["/async", "/sync"])


# Where code runs


async def test_an_async_view_runs_on_the_servers_loop_and_a_sync_view_does_not(app: Flask) -> None:
    both_kinds(app, lambda: str(threading.get_ident()))
    here = str(threading.get_ident()).encode()

    assert (200, here) == await ask(app, http_scope("/async"))
    assert (200, here) != await ask(app, http_scope("/sync"))


async def test_async_code_met_in_a_thread_is_awaited_on_the_servers_loop(app: Flask) -> None:
    loops = []

    @app.before_request
    async def hook() -> None:
        loops.append(asyncio.get_running_loop())

    class View(MethodView):
        async def get(self) -> str:
            loops.append(asyncio.get_running_loop())
            return "ok"

    app.add_url_rule("/", view_func=View.as_view("view"))

    assert (200, b"ok") == await ask(app, http_scope())
    assert [asyncio.get_running_loop()] * 2 == loops


@on_both_paths
async def test_what_an_async_hook_sets_is_there_in_the_view(app: Flask, path: str) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    @app.before_request
    async def hook() -> None:
        await asyncio.sleep(0)
        variable.set("set")

    both_kinds(app, variable.get)

    assert (200, b"set") == await ask(app, http_scope(path))


async def test_views_are_told_apart_by_host_where_flask_does(hosted: Flask) -> None:
    here = threading.get_ident()

    @hosted.get("/", host="async.example.com")
    async def async_view() -> str:
        return str(threading.get_ident() == here)

    @hosted.get("/", host="sync.example.com")
    def sync_view() -> str:
        return str(threading.get_ident() == here)

    assert (200, b"True") == await ask(hosted, http_scope("/", (b"host", b"async.example.com")))
    assert (200, b"False") == await ask(hosted, http_scope("/", (b"host", b"sync.example.com")))


async def test_sync_code_in_an_async_view_can_call_async_code(app: Flask) -> None:
    async def inner() -> str:
        await asyncio.sleep(0)
        return "inner"

    @app.get("/")
    async def view() -> str:
        return str(current_app.ensure_sync(inner)())

    assert (200, b"inner") == await ask(app, http_scope())


async def test_an_exception_reaches_the_view_that_awaits(app: Flask) -> None:
    @app.get("/")
    async def view() -> str:
        try:
            async with asyncio.timeout(0):
                await asyncio.sleep(10)
        except TimeoutError:
            return "timed out"
        return "never"

    assert (200, b"timed out") == await ask(app, http_scope())


async def test_a_blocking_call_in_an_async_view_is_caught(app: Flask) -> None:
    both_kinds(app, lambda: time.sleep(0) or "slept")  # type: ignore[func-returns-value]

    assert (200, b"slept") == await ask(app, http_scope("/sync"))
    with pytest.raises(BlockingError):
        await ask(app, http_scope("/async"))


async def test_outside_a_server_the_same_views_run_through_asgiref(app: Flask) -> None:
    both_kinds(app, lambda: "ok")
    FlaskToAsgi(app)

    responses = await asyncio.to_thread(
        lambda: [app.test_client().get(path).text for path in ("/async", "/sync")]
    )

    assert ["ok", "ok"] == responses


async def test_a_context_of_one_request_is_not_the_servers(app: Flask) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    both_kinds(app, lambda: [variable.set("set"), "ok"][1])

    await ask(app, http_scope("/async"))
    await ask(app, http_scope("/sync"))

    assert "unset" == variable.get()


# Requests


@on_both_paths
async def test_several_cookie_headers_are_one(app: Flask, path: str) -> None:
    both_kinds(app, lambda: dict(request.cookies))

    status, body = await ask(app, http_scope(path, (b"cookie", b"a=1"), (b"cookie", b"b=2")))

    assert (200, b'{"a":"1","b":"2"}\n') == (status, body)


async def test_a_header_with_underscores_cannot_pose_as_another(app: Flask) -> None:
    both_kinds(app, lambda: request.headers.get("X-Forwarded-For", "none"))

    assert (200, b"none") == await ask(
        app, http_scope("/async", (b"x_forwarded_for", b"203.0.113.9"))
    )


async def test_a_header_repeated_too_often_is_refused(app: Flask) -> None:
    both_kinds(app, lambda: "ok")

    start, body = await messages(app, http_scope("/async", *[(b"x-many", b"1")] * 101))

    assert 400 == start["status"]
    assert (b"content-type", b"application/problem+json") in start["headers"]
    assert b"repeated" in body["body"]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({"path": "/async", "query_string": b"q=\xe9"}, b" /async q=%E9"),
        ({"path": "/v1/async", "root_path": "/v1"}, b"/v1 /async "),
        ({"path": "/async", "root_path": "/v1"}, b"/v1 /async "),
        ({"path": "/async", "root_path": "/as"}, b"/as /async "),
    ],
    ids=["odd bytes", "root path", "root path left out", "root path that is no segment"],
)
async def test_the_path_and_the_query_arrive_as_they_were_sent(
    app: Flask, scope: dict[str, Any], expected: bytes
) -> None:
    def seen() -> str:
        query = request.query_string.decode("latin-1").replace("\xe9", "%E9")
        return f"{request.root_path} {request.path} {query}"

    both_kinds(app, seen)

    assert (200, expected) == await ask(app, http_scope(**scope))


async def test_a_path_that_is_not_utf_8_keeps_its_bytes(app: Flask) -> None:
    @app.get("/<name>")
    async def view(name: str) -> str:
        assert name == "\ufffd"
        return str(request.environ["PATH_INFO"].encode("latin-1").hex())

    scope = http_scope("/\ufffd", raw_path=b"/%FF")

    assert (200, b"/\xff".hex().encode()) == await ask(app, scope)


@on_both_paths
async def test_a_body_of_unknown_length_is_read_to_its_end(app: Flask, path: str) -> None:
    both_kinds(app, request_data, methods=["POST"])
    scope = http_scope(path, (b"transfer-encoding", b"chunked"), method="POST")

    assert (200, b"onetwo") == await ask(app, scope, b"one", b"two")


async def test_an_http_2_body_needs_no_announcement(app: Flask) -> None:
    both_kinds(app, request_data, methods=["POST"])

    scope = http_scope("/async", method="POST", http_version="2")

    assert (200, b"body") == await ask(app, scope, b"body")


@on_both_paths
async def test_a_body_over_the_limit_is_refused_before_it_is_read(app: Flask, path: str) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 3
    both_kinds(app, request_data, methods=["POST"])

    # This client never sends any of it.
    client = Client(FlaskToAsgi(app), http_scope(path, (b"content-length", b"4"), method="POST"))

    assert 413 == (await client.next_sent())["status"]
    await client.done


@on_both_paths
async def test_a_client_that_leaves_in_mid_body_does_not_pass_for_the_end_of_it(
    app: Flask, path: str
) -> None:
    outcomes: list[type[BaseException]] = []

    def read() -> bytes:
        try:
            return request.get_data()
        except BaseException as error:
            outcomes.append(type(error))
            raise

    both_kinds(app, read, methods=["POST"])
    scope = http_scope(path, (b"transfer-encoding", b"chunked"), method="POST")
    client = Client(FlaskToAsgi(app), scope)
    client.received.put_nowait({"type": "http.request", "body": b"half", "more_body": True})
    client.received.put_nowait({"type": "http.disconnect"})
    await client.done

    # The loop cancels its view; the thread, which cannot be, gets an error from the read.
    assert [asyncio.CancelledError if path == "/async" else ClientDisconnected] == outcomes


# Responses


@on_both_paths
async def test_an_ordinary_response_leaves_in_one_body_message(app: Flask, path: str) -> None:
    both_kinds(app, lambda: "ok")

    start, *bodies = await messages(app, http_scope(path))

    assert 200 == start["status"]
    assert [{"type": "http.response.body", "body": b"ok", "more_body": False}] == bodies


@on_both_paths
async def test_a_latin_1_header_is_sent_as_it_is(app: Flask, path: str) -> None:
    both_kinds(app, lambda: Response("ok", headers={"X-Name": "Zo\xeb"}))

    start, _ = await messages(app, http_scope(path))

    assert (b"x-name", b"Zo\xeb") in start["headers"]


@on_both_paths
async def test_a_response_is_closed_exactly_once(app: Flask, path: str) -> None:
    closed = []

    def answer() -> Response:
        response = Response("ok")
        response.call_on_close(lambda: closed.append(path))
        return response

    both_kinds(app, answer)
    await ask(app, http_scope(path))

    assert [path] == closed


async def test_an_error_while_closing_does_not_spoil_the_response(app: Flask) -> None:
    def answer() -> Response:
        response = Response("ok")
        response.call_on_close(lambda: 1 / 0)
        return response

    both_kinds(app, answer)

    assert (200, b"ok") == await ask(app, http_scope("/async"))


@on_both_paths
@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_no_more_is_sent_than_content_length_says(app: Flask, path: str, method: str) -> None:
    both_kinds(app, lambda: Response(iter(["abc", "def"]), headers={"Content-Length": "4"}))

    status, body = await ask(app, http_scope(path, method=method))

    assert (200, b"abcd" if method == "GET" else b"") == (status, body)


async def parts() -> AsyncIterator[str]:
    yield "a"
    await asyncio.sleep(0)
    yield "b"


class AsyncIterable:
    def __aiter__(self) -> AsyncIterator[str]:
        return parts()


@on_both_paths
@pytest.mark.parametrize(
    "answer",
    [
        parts,
        AsyncIterable,
        lambda: (parts(), 200),
        lambda: Response(parts()),  # type: ignore[arg-type] # what Flask cannot take
        lambda: iter(["a", "b"]),
        lambda: Response(["a", "b"]),
    ],
    ids=["async generator", "async iterable", "with a status", "in a response", "iterator", "list"],
)
async def test_a_body_can_be_any_iterable(app: Flask, path: str, answer: Any) -> None:
    both_kinds(app, answer)

    assert (200, b"ab") == await ask(app, http_scope(path))


async def test_an_async_body_also_works_under_wsgi(app: Flask) -> None:
    both_kinds(app, parts)
    FlaskToAsgi(app)

    assert "ab" == await asyncio.to_thread(lambda: app.test_client().get("/sync").text)


async def test_a_sync_body_of_an_async_view_is_produced_in_a_thread(app: Flask) -> None:
    def blocking() -> Iterator[str]:
        time.sleep(0)
        yield "slow"

    both_kinds(app, lambda: Response(blocking()))

    assert (200, b"slow") == await ask(app, http_scope("/async"))


async def test_an_error_page_of_an_async_view_needs_no_thread(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(ThreadPool, "run")

    @app.get("/async")
    async def view() -> str:
        abort(403)

    status, body = await ask(app, http_scope("/async"))

    assert (403, True) == (status, b"Forbidden" in body)


async def test_wsgi_middleware_around_the_application_works(app: Flask) -> None:
    both_kinds(app, lambda: "inner")
    inner = app.wsgi_app

    def middleware(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        write(b"written ")
        return inner(environ, lambda *_: write)

    app.wsgi_app = middleware  # type: ignore[method-assign] # as Flask's documentation has it

    assert (200, b"written inner") == await ask(app, http_scope("/async"))


async def test_start_response_raises_once_the_response_has_begun(app: Flask) -> None:
    def broken(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"begun"
        try:
            raise RuntimeError  # noqa: TRY301 - as WSGI code does it
        except RuntimeError as error:
            start_response("500 Oops", [], (type(error), error, error.__traceback__))

    app.wsgi_app = broken  # type: ignore[assignment] # any WSGI application will do

    with pytest.raises(RuntimeError):
        await ask(app, http_scope())


# Lifespan and other scopes


async def test_the_lifespan_is_entered_at_startup_and_left_at_shutdown(app: Flask) -> None:
    events = []

    @contextlib.asynccontextmanager
    async def lifespan(served: Flask) -> AsyncIterator[None]:
        assert served is app
        events.append("entered")
        yield
        events.append("left")

    server = Client(FlaskToAsgi(app, lifespan=lifespan), {"type": "lifespan"})
    server.received.put_nowait({"type": "lifespan.startup"})

    assert {"type": "lifespan.startup.complete"} == await server.next_sent()
    assert ["entered"] == events

    server.received.put_nowait({"type": "lifespan.shutdown"})

    assert {"type": "lifespan.shutdown.complete"} == await server.next_sent()
    assert ["entered", "left"] == events


@contextlib.asynccontextmanager
async def fails_to_start(_app: Flask) -> AsyncIterator[None]:
    message = "no database"
    raise OSError(message)
    yield


@contextlib.asynccontextmanager
async def fails_to_stop(_app: Flask) -> AsyncIterator[None]:
    yield
    message = "no database"
    raise OSError(message)


async def test_a_failing_startup_says_why(app: Flask) -> None:
    server = Client(FlaskToAsgi(app, lifespan=fails_to_start), {"type": "lifespan"})
    server.received.put_nowait({"type": "lifespan.startup"})

    message = "startup failed: OSError: no database"
    assert {"type": "lifespan.startup.failed", "message": message} == await server.next_sent()


async def test_a_failing_shutdown_says_why(app: Flask) -> None:
    server = Client(FlaskToAsgi(app, lifespan=fails_to_stop), {"type": "lifespan"})
    server.received.put_nowait({"type": "lifespan.startup"})
    server.received.put_nowait({"type": "lifespan.shutdown"})
    await server.next_sent()

    message = "shutdown failed: OSError: no database"
    assert {"type": "lifespan.shutdown.failed", "message": message} == await server.next_sent()


async def test_without_a_lifespan_there_is_nothing_to_do(app: Flask) -> None:
    server = Client(FlaskToAsgi(app), {"type": "lifespan"})
    server.received.put_nowait({"type": "lifespan.startup"})

    assert {"type": "lifespan.startup.complete"} == await server.next_sent()

    server.received.put_nowait({"type": "lifespan.shutdown"})
    await server.done


async def test_a_websocket_is_refused(app: Flask) -> None:
    server = Client(FlaskToAsgi(app), {"type": "websocket"})
    server.received.put_nowait({"type": "websocket.connect"})

    assert "websocket.close" == (await server.next_sent())["type"]


async def test_an_unknown_scope_is_an_error(app: Flask) -> None:
    with pytest.raises(ValueError, match="'telnet'"):
        await Client(FlaskToAsgi(app), {"type": "telnet"}).done


# Limits


class Crowd:
    """Requests that stay inside their views until they are let go."""

    def __init__(self, app: Flask, **limits: Any) -> None:
        self.inside: asyncio.Semaphore = asyncio.Semaphore(0)
        self.exit = threading.Event()
        self.bridge = FlaskToAsgi(app, **limits)
        loop = asyncio.get_running_loop()

        @app.get("/async")
        async def async_view() -> str:
            self.inside.release()
            await asyncio.to_thread(self.exit.wait, 10)
            return "served"

        @app.get("/sync")
        def sync_view() -> str:
            loop.call_soon_threadsafe(self.inside.release)
            self.exit.wait(10)
            return "served"

        @app.get("/health")
        async def health() -> str:
            return "alive"

    def send(self, path: str) -> "asyncio.Task[tuple[int, dict[bytes, bytes]]]":
        return asyncio.create_task(self._status_and_headers(path))

    async def _status_and_headers(self, path: str) -> tuple[int, dict[bytes, bytes]]:
        client = Client(self.bridge, http_scope(path))
        client.received.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        start = await client.next_sent()
        await client.done
        return start["status"], dict(start["headers"])


async def test_above_max_in_flight_requests_are_refused_at_once(app: Flask) -> None:
    crowd = Crowd(app, max_in_flight=2)
    served = [crowd.send("/async"), crowd.send("/async")]
    for _ in served:
        await crowd.inside.acquire()

    status, headers = await crowd.send("/async")

    assert (503, b"1") == (status, headers[b"retry-after"])
    assert b"application/problem+json" == headers[b"content-type"]

    crowd.exit.set()

    assert [200, 200] == [(await request)[0] for request in served]
    assert 200 == (await crowd.send("/async"))[0]


async def test_health_checks_are_answered_above_max_in_flight(app: Flask) -> None:
    crowd = Crowd(app, max_in_flight=1, always_answer={"/health"})
    served = crowd.send("/async")
    await crowd.inside.acquire()

    assert 503 == (await crowd.send("/async"))[0]
    assert 200 == (await crowd.send("/health"))[0]

    crowd.exit.set()
    await served


async def test_when_enough_requests_wait_for_a_thread_more_are_refused(app: Flask) -> None:
    crowd = Crowd(app, threads=1, max_waiting=1)
    served = crowd.send("/sync")
    await crowd.inside.acquire()
    waiting = crowd.send("/sync")
    await asyncio.sleep(0)

    assert 503 == (await crowd.send("/sync"))[0]
    assert 200 == (await crowd.send("/health"))[0]

    crowd.exit.set()

    assert [200, 200] == [(await request)[0] for request in (served, waiting)]


async def test_an_async_view_that_takes_too_long_is_cancelled_and_answered_504(app: Flask) -> None:
    cancelled = []

    @app.get("/")
    async def view() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return "never"

    status, body = await ask(app, http_scope(), request_timeout=0.3)

    assert (504, [True]) == (status, cancelled)
    assert b"longer than 0.3 s" in body


async def test_a_short_body_that_takes_too_long_is_answered_408(app: Flask) -> None:
    both_kinds(app, request_data, methods=["POST"])
    scope = http_scope("/sync", (b"content-length", b"9"), method="POST")
    client = Client(FlaskToAsgi(app, request_timeout=0.3), scope)
    client.received.put_nowait({"type": "http.request", "body": b"half", "more_body": True})

    start = await client.next_sent()
    body = (await client.next_sent())["body"]
    await client.done

    assert (408, True) == (start["status"], (b"connection", b"close") in start["headers"])
    assert b"longer than 0.3 s to arrive" in body


async def test_a_stream_may_last_longer_than_the_time_to_respond(app: Flask) -> None:
    @app.get("/")
    async def view() -> AsyncIterator[str]:
        await asyncio.sleep(0)
        yield "a"
        await asyncio.sleep(0.6)
        yield "b"

    assert (200, b"ab") == await ask(app, http_scope(), request_timeout=0.5)


# Cancellation


@pytest.mark.parametrize(("cause", "status"), [("leaves", 499), ("waits", 504), ("stops", 503)])
async def test_what_a_cancelled_view_put_off_is_done_once_and_before_teardown(
    app: Flask, cause: str, status: int
) -> None:
    entered = asyncio.Event()
    done: list[object] = []

    @app.get("/")
    async def view() -> str:
        @after_this_request
        async def note(response: Response) -> Response:
            await asyncio.sleep(0)
            done.append(response.status_code)
            return response

        entered.set()
        await asyncio.Event().wait()
        return "never"

    @app.teardown_request
    def note_teardown(error: BaseException | None) -> None:
        done.append(type(error))

    FlaskToAsgi(app)  # wrapped twice, as by the tests of a service
    bridge = FlaskToAsgi(app, request_timeout=0.5 if cause == "waits" else None)
    client = Client(bridge, http_scope())
    client.received.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    await entered.wait()
    if cause == "leaves":
        client.received.put_nowait({"type": "http.disconnect"})
    elif cause == "stops":
        client.done.cancel()
    await asyncio.wait([client.done])

    assert [status, asyncio.CancelledError] == done


async def test_a_cancelled_view_is_torn_down_even_if_what_it_put_off_fails(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    torn_down: list[object] = []

    @app.get("/")
    async def view() -> str:
        @after_this_request
        def fail(_response: Response) -> Response:
            raise RuntimeError

        await asyncio.Event().wait()
        return "never"

    @app.teardown_request
    def note_teardown(error: BaseException | None) -> None:
        torn_down.append(type(error))

    assert 504 == (await ask(app, http_scope(), request_timeout=0.3))[0]
    assert [asyncio.CancelledError] == torn_down
    failed = "What follows a request that was refused or cancelled failed"
    assert [failed] == [each.message for each in caplog.records]


async def test_nothing_of_a_request_outlives_it(app: Flask) -> None:
    bodies: list[weakref.ref[object]] = []

    @app.get("/")
    async def view() -> str:
        bodies.append(weakref.ref(request.environ["wsgi.input"]))
        return "ok"

    await ask(app, http_scope())
    gc.collect()

    assert [None] == [body() for body in bodies]


async def test_a_server_that_stops_cancels_the_view_and_answers_503(app: Flask) -> None:
    entered = asyncio.Event()

    @app.get("/")
    async def view() -> str:
        entered.set()
        await asyncio.Event().wait()
        return "never"

    client = Client(FlaskToAsgi(app), http_scope())
    client.received.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    await entered.wait()
    client.done.cancel()
    start = await client.next_sent()
    await client.done

    assert (503, True) == (start["status"], (b"connection", b"close") in start["headers"])
