"""A request and its response: the messages, their order and number, and the time limits."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from flask import Flask, Response, request
from flask_asgi import FlaskToAsgi

from tests.serving import Server, serve

from .asgi_client import Client, ask, both_kinds, http_scope, messages, on_both_paths
from .probes import SERVERS, settled
from .wire import connect, get

pytestmark = pytest.mark.anyio

REQUESTS = 200

each_kind = pytest.mark.parametrize("kind", ["async", "sync"])


# Message by message


@on_both_paths
async def test_an_ordinary_response_leaves_in_one_body_message(app: Flask, path: str) -> None:
    both_kinds(app, lambda: "ok")

    start, *bodies = await messages(app, http_scope(path))

    assert 200 == start["status"]
    assert [{"type": "http.response.body", "body": b"ok", "more_body": False}] == bodies


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


async def test_an_error_while_closing_does_not_change_the_response(app: Flask) -> None:
    def answer() -> Response:
        response = Response("ok")
        response.call_on_close(lambda: 1 / 0)
        return response

    both_kinds(app, answer)

    assert (200, b"ok") == await ask(app, http_scope("/async"))


@on_both_paths
@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_a_body_is_cut_off_at_its_content_length(app: Flask, path: str, method: str) -> None:
    both_kinds(app, lambda: Response(iter(["abc", "def"]), headers={"Content-Length": "4"}))

    status, body = await ask(app, http_scope(path, method=method))

    assert (200, b"abcd" if method == "GET" else b"") == (status, body)


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


# Time


async def test_a_timed_out_async_view_is_cancelled_and_answered_504(
    app: Flask,
) -> None:
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


async def test_a_slow_short_body_is_answered_408(app: Flask) -> None:
    both_kinds(app, lambda: request.data, methods=["POST"])
    scope = http_scope("/sync", (b"content-length", b"9"), method="POST")
    client = Client(FlaskToAsgi(app, request_timeout=0.3), scope)
    client.received.put_nowait({"type": "http.request", "body": b"half", "more_body": True})

    start = await client.next_sent()
    body = (await client.next_sent())["body"]
    await client.done

    assert (408, True) == (start["status"], (b"connection", b"close") in start["headers"])
    assert b"longer than 0.3 s to arrive" in body


async def test_a_stream_may_last_longer_than_the_request_timeout(app: Flask) -> None:
    @app.get("/")
    async def view() -> AsyncIterator[str]:
        await asyncio.sleep(0)
        yield "a"
        await asyncio.sleep(0.6)
        yield "b"

    assert (200, b"ab") == await ask(app, http_scope(), request_timeout=0.5)


# Over sockets, with either of uvicorn's parsers


@pytest.fixture(scope="module", params=SERVERS.values(), ids=list(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serve(*request.param) as server:
        yield server


async def back_to_back(server: Server, paths: list[str]) -> set[tuple[int, bytes]]:
    """Return the distinct answers to requests on one connection.

    Each request is sent as soon as the last byte of the previous response has arrived.
    """
    answers = set()
    async with connect(server.url) as connection:
        for path in paths:
            connection.send(path)
            reply = await connection.reply()
            answers.add((reply.status, reply.body))
    return answers


@pytest.mark.parametrize(
    "paths",
    [["/ping/async"], ["/ping/sync"], ["/ping/async", "/ping/sync"]],
    ids=["async", "sync", "mixed"],
)
async def test_every_request_on_a_kept_alive_connection_is_answered_and_isolated(
    server: Server, paths: list[str]
) -> None:
    per_connection = (paths * REQUESTS)[:REQUESTS]

    answers = await asyncio.gather(*(back_to_back(server, per_connection) for _ in range(5)))

    assert [{(200, b"nobody")}] * 5 == answers


async def test_pipelined_requests_are_answered_and_isolated(server: Server) -> None:
    async with connect(server.url) as connection:
        for _ in range(50):
            connection.send("/ping/async")
            connection.send("/ping/sync")
        bodies = {(await connection.reply()).body for _ in range(100)}

    assert {b"nobody"} == bodies


async def test_an_http_1_0_connection_is_closed_after_its_response(server: Server) -> None:
    async with connect(server.url) as connection:
        connection.writer.write(b"GET /status/200/async HTTP/1.0\r\n\r\n")
        answer = await connection.reader.read()

    assert answer.endswith(b"\r\n\r\nbody")


@each_kind
async def test_responses_without_a_body_have_none(server: Server, kind: str) -> None:
    heads = []
    async with connect(server.url) as connection:
        connection.send(f"/status/200/{kind}", "HEAD")
        connection.send(f"/parts/{kind}?number=10", "HEAD")
        connection.send(f"/status/204/{kind}")
        connection.send(f"/status/304/{kind}")
        connection.send(f"/status/200/{kind}")
        # A single byte of a body would be taken for the next head.
        heads = [await connection.head() for _ in range(4)]
        last = await connection.reply()

    assert [200, 200, 204, 304] == [status for status, _ in heads]
    assert "4" == heads[0][1]["content-length"]
    assert "transfer-encoding" not in heads[2][1] | heads[3][1]
    assert b"body" == last.body


@each_kind
async def test_a_latin_1_header_is_sent_unchanged(server: Server, kind: str) -> None:
    assert "Zo\xeb" == (await get(server.url, f"/latin-1/{kind}")).headers["x-name"]


@each_kind
async def test_a_stream_that_the_client_aborts_is_closed_exactly_once(
    server: Server, kind: str
) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/closed-once/{kind}")
        await connection.head()
        await connection.chunk()

    assert 1 == await settled(server, f"{kind}-generator-closed")
    assert 1 == await settled(server, f"{kind}-response-closed")
