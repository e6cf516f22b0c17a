"""The engine's own responses get the application's headers, its log line and its teardown."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from flask import Flask, Response, after_this_request
from flask_asgi import CLIENT_CLOSED_REQUEST, FlaskToAsgi

from tests.serving import Server

from .asgi_client import Client, ask, http_scope
from .probes import log_of, serve_application
from .wire import Reply, announced, connect

pytestmark = pytest.mark.anyio

TIMEOUT = 0.5


# Message by message


@pytest.mark.parametrize(
    ("cause", "status"), [("disconnect", CLIENT_CLOSED_REQUEST), ("timeout", 504), ("stop", 503)]
)
async def test_deferred_functions_of_a_cancelled_view_run_once_before_teardown(
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

    bridge = FlaskToAsgi(app, request_timeout=0.5 if cause == "timeout" else None)
    client = Client(bridge, http_scope())
    client.send_body()
    await entered.wait()
    if cause == "disconnect":
        client.received.put_nowait({"type": "http.disconnect"})
    elif cause == "stop":
        client.done.cancel()
    await asyncio.wait([client.done])

    assert [status, asyncio.CancelledError] == done


async def test_a_cancelled_view_is_torn_down_even_if_a_deferred_function_fails(
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
    failed = "A hook after a refused or cancelled request failed"
    assert [failed] == [each.message for each in caplog.records]


async def test_a_server_that_stops_cancels_the_view_and_answers_503(app: Flask) -> None:
    entered = asyncio.Event()

    @app.get("/")
    async def view() -> str:
        entered.set()
        await asyncio.Event().wait()
        return "never"

    client = Client(FlaskToAsgi(app), http_scope())
    client.send_body()
    await entered.wait()
    client.done.cancel()
    start = await client.next_sent()
    await client.done

    assert (503, True) == (start["status"], (b"connection", b"close") in start["headers"])


async def test_an_application_without_error_handlers_answers_with_a_problem_too(app: Flask) -> None:
    header = (b"x-request-id", b"its-id")

    status, body = await ask(app, http_scope("/h\u00fc", header), max_in_flight=0)

    assert 503 == status
    problem = json.loads(body)
    assert ("about:blank", "Service Unavailable") == (problem["type"], problem["title"])
    assert ("/h%C3%BC", "its-id") == (problem["instance"], problem["request_id"])
    assert problem["detail"]


# Over sockets


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve_application(request_timeout=TIMEOUT) as server:
        yield server


@pytest.fixture
def crowded_server() -> Iterator[Server]:
    with serve_application(max_in_flight=1) as server:
        yield server


async def check(server: Server, reply: Reply, status: int, name: str) -> None:
    """Check the header and the log line that the application adds to every answer."""
    assert (status, name) == (reply.status, reply.headers["x-request-id"])
    assert "application/problem+json" == reply.headers["content-type"]
    log = await log_of(server)
    assert 1 == log.count(f"answered {name} with "), log
    assert f"answered {name} with {status}" in log


async def test_a_408_has_the_applications_header_and_log_line(server: Server) -> None:
    async with connect(server.url) as connection:
        headers = announced(9, "length") + "X-Request-ID: slow-body\r\n"
        connection.send("/length/async", "POST", headers)
        reply = await connection.reply()

    await check(server, reply, 408, "slow-body")
    assert "close" == reply.headers["connection"]


async def test_a_504_has_the_applications_header_and_log_line(server: Server) -> None:
    async with connect(server.url) as connection:
        connection.send("/hang", headers="X-Request-ID: slow-view\r\n")
        reply = await connection.reply()

    await check(server, reply, 504, "slow-view")


async def test_a_503_has_the_applications_header_and_log_line(
    crowded_server: Server,
) -> None:
    async with connect(crowded_server.url) as one, connect(crowded_server.url) as other:
        one.send("/hang")
        statuses: list[int] = []
        while 503 not in statuses:  # until the first is inside
            name = f"attempt-{len(statuses)}"
            other.send("/ping/async", headers=f"X-Request-ID: {name}\r\n")
            reply = await other.reply()
            statuses.append(reply.status)

    await check(crowded_server, reply, 503, name)
    assert "1" == reply.headers["retry-after"]


async def test_a_400_has_the_applications_header_and_log_line(server: Server) -> None:
    async with connect(server.url) as connection:
        headers = "X-Many: 1\r\n" * 101 + "X-Request-ID: many\r\n"
        connection.send("/status/200/async", headers=headers)
        reply = await connection.reply()

    await check(server, reply, 400, "many")
