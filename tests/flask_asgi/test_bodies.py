"""Request and response bodies are streamed where the view runs, and never held whole.

Memory is watched while `BODY_MIB` mebibytes go through; the environment can ask for more.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from flask import Flask, Response, abort, request
from flask_asgi import FlaskToAsgi
from flask_asgi._request_body import Incoming
from werkzeug.exceptions import ClientDisconnected

from tests.serving import PATIENCE, Server, serve

from .asgi_client import Client, ask, both_kinds, http_scope, on_both_paths
from .probes import (
    BODY_MIB,
    GROWTH_KIB,
    PARTS,
    SERVERS,
    event,
    held,
    needs_proc,
    serve_application,
    settled,
    until_event,
    until_in_flight,
)
from .wire import Connection, announced, connect, framed, get, open_connection

pytestmark = pytest.mark.anyio

PART = bytes(65536)
THREADS = 20
FEW_THREADS = 4  # of the server with a short request timeout
TIMEOUT = 2  # seconds

each_kind = pytest.mark.parametrize("kind", ["async", "sync"])
both_framings = pytest.mark.parametrize("framing", ["length", "chunked"])


# Requests, message by message


def request_data() -> bytes:
    return request.get_data()


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

    # The client sends no part of the body.
    client = Client(FlaskToAsgi(app), http_scope(path, (b"content-length", b"4"), method="POST"))

    assert 413 == (await client.next_sent())["status"]
    await client.done


@on_both_paths
async def test_a_disconnect_in_mid_body_is_not_read_as_the_end_of_the_body(
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

    # The loop cancels an async view. A thread cannot be cancelled, so its read raises.
    assert [asyncio.CancelledError if path == "/async" else ClientDisconnected] == outcomes


async def test_a_body_part_that_arrives_just_before_a_thread_waits_is_not_missed() -> None:
    messages: asyncio.Queue[Any] = asyncio.Queue()
    messages.put_nowait({"type": "http.request", "body": b"last", "more_body": False})
    incoming = Incoming(messages.get, on_disconnect=lambda: None)
    incoming.expect_body(None, withheld=False)
    incoming.watch()
    while incoming.is_incomplete:  # noqa: ASYNC110 - the background task sets no event
        await asyncio.sleep(0)

    await asyncio.wait_for(incoming.receive_ahead(), 1)

    assert b"last" == bytes(incoming.unread)
    incoming.stop()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.12 is the first with eager tasks")
@on_both_paths
def test_a_body_arrives_with_eager_tasks(app: Flask, path: str) -> None:
    both_kinds(app, request_data, methods=["POST"])
    scope = http_scope(path, (b"transfer-encoding", b"chunked"), method="POST")
    parts = [bytes(65536)] * 5

    with asyncio.Runner() as runner:
        runner.get_loop().set_task_factory(vars(asyncio)["eager_task_factory"])
        answer = runner.run(asyncio.wait_for(ask(app, scope, *parts, b""), 10))

    assert (200, b"".join(parts)) == answer


# Responses, message by message


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
        lambda: Response(parts()),  # type: ignore[arg-type] # Flask cannot take it
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


async def test_an_error_page_of_an_async_view_needs_no_thread(app: Flask) -> None:
    @app.get("/async")
    async def view() -> str:
        abort(403)

    status, body = await ask(app, http_scope("/async"), threads=0)

    assert (403, True) == (status, b"Forbidden" in body)


# Requests, over sockets and through either of uvicorn's parsers


@pytest.fixture(scope="module", params=SERVERS.values(), ids=list(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serve(*request.param, env={"ENGINE_OPTIONS": f'{{"threads": {THREADS}}}'}) as server:
        yield server


async def write_body(connection: Connection, framing: str) -> None:
    part = PART if framing == "length" else b"10000\r\n%b\r\n" % PART
    for _ in range(PARTS):
        connection.writer.write(part)
        await connection.writer.drain()
    connection.writer.write(b"" if framing == "length" else b"0\r\n\r\n")


async def pour(connection: Connection) -> None:
    while True:
        connection.writer.write(b"10000\r\n%b\r\n" % PART)
        await connection.writer.drain()


async def post(server: Server, path: str, body: bytes, framing: str) -> tuple[int, bytes]:
    async with connect(server.url) as connection:
        connection.send(path, "POST", announced(len(body), framing))
        connection.writer.write(framed(body, framing))
        reply = await connection.reply()
        return reply.status, reply.body


@needs_proc
@both_framings
@each_kind
async def test_a_large_upload_leaves_memory_flat(server: Server, kind: str, framing: str) -> None:
    before = await held(server)
    async with connect(server.url) as connection:
        connection.send(f"/count/{kind}", "POST", announced(len(PART) * PARTS, framing))
        await write_body(connection, framing)
        counted = int((await connection.reply()).body)

    assert BODY_MIB * 2**20 == counted
    assert (await held(server))["peak"] - before["peak"] < GROWTH_KIB


@each_kind
async def test_a_view_that_does_not_read_applies_backpressure(server: Server, kind: str) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/count-later/{kind}", "POST", announced(len(PART) * PARTS, "length"))
        writing = asyncio.create_task(write_body(connection, "length"))

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(writing), 0.3)

        await get(server.url, f"/open/{kind}")
        await writing

        assert BODY_MIB * 2**20 == int((await connection.reply()).body)


@each_kind
async def test_a_view_may_answer_while_it_still_reads(server: Server, kind: str) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/echo/{kind}", "POST", "Transfer-Encoding: chunked\r\n")
        connection.writer.write(b"4\r\nping\r\n")
        await connection.head()
        assert b"ping" == await connection.chunk()
        connection.writer.write(b"4\r\npong\r\n0\r\n\r\n")

        assert b"pong" == await connection.chunk()
        assert b"" == await connection.chunk()


@both_framings
@pytest.mark.parametrize("view", ["length", "count"])
@each_kind
async def test_a_body_over_the_limit_is_answered_413(
    server: Server,
    kind: str,
    view: str,
    framing: str,
) -> None:
    status, _ = await post(server, f"/{view}/{kind}?limit=10", b"eleven byte", framing)

    assert 413 == status


@both_framings
@each_kind
async def test_a_body_as_long_as_the_limit_is_taken(
    server: Server, kind: str, framing: str
) -> None:
    answer = await post(server, f"/length/{kind}?limit=10", b"exactly 10", framing)

    assert (200, b"10") == answer


@both_framings
@pytest.mark.parametrize(
    "path", ["/length/async?limit=10", "/length/sync?limit=10", "/refuse/sync"]
)
async def test_an_unread_body_is_never_parsed_as_a_request(
    server: Server,
    path: str,
    framing: str,
) -> None:
    smuggled = b"POST /refuse/sync?note=smuggled HTTP/1.1\r\nHost: a\r\n\r\n" * 10_000
    answers = []
    async with connect(server.url) as connection:
        connection.send(path, "POST", announced(len(smuggled), framing))
        connection.writer.write(framed(smuggled, framing))
        connection.send("/status/200/async")
        # Either the connection ends after the first answer or the next request gets its own.
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            answers.append((await connection.reply()).status)
            answers.append((await connection.reply()).status)

    refused = 403 if path == "/refuse/sync" else 413
    assert answers in ([refused], [refused, 200])
    assert 0 == await event(server, "smuggled-torn-down")


@both_framings
@each_kind
async def test_a_refused_upload_closes_the_connection_after_the_response_is_read(
    server: Server, kind: str, framing: str
) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/length/{kind}?limit=10", "POST", announced(2**23, framing))
        connection.writer.write(framed(bytes(2**23), framing))
        await connection.writer.drain()
        await asyncio.sleep(0.1)  # a client that reads the response only after it sent all
        reply = await connection.reply()

        assert (413, "close") == (reply.status, reply.headers["connection"])
        assert b"" == await connection.reader.read()


async def test_a_refused_endless_upload_is_cut_off(server: Server) -> None:
    async with connect(server.url) as connection:
        connection.send("/length/async?limit=10", "POST", "Transfer-Encoding: chunked\r\n")
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(pour(connection), 5)


async def test_an_unread_short_body_keeps_the_connection_open(server: Server) -> None:
    async with connect(server.url) as connection:
        for _ in range(2):
            connection.send("/refuse/sync", "POST", body=b"short")
            reply = await connection.reply()

            assert 403 == reply.status
            assert "connection" not in reply.headers


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/refuse/async", 403),
        ("/refuse/sync", 403),
        ("/refuse-after-a-wait/async", 403),
        ("/length/async?limit=10", 413),
        ("/length/sync?limit=10", 413),
    ],
)
async def test_an_unwanted_body_gets_no_100_continue(
    server: Server, path: str, status: int
) -> None:
    async with connect(server.url) as connection:
        connection.send(path, "POST", "Content-Length: 20\r\nExpect: 100-continue\r\n")

        reply = await connection.reply()

        # The client may send the body or skip it, so the server must close the connection.
        assert (status, "close") == (reply.status, reply.headers["connection"])
        assert b"" == await connection.reader.read()


@each_kind
async def test_a_wanted_body_gets_100_continue(server: Server, kind: str) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/count/{kind}", "POST", "Content-Length: 4\r\nExpect: 100-continue\r\n")
        assert 100 == (await connection.head())[0]
        connection.writer.write(b"body")

        assert b"4" == (await connection.reply()).body


@pytest.mark.parametrize("size", [4, 65536], ids=["short", "longest"])
@pytest.mark.parametrize("reader", ["task", "thread", "copied-context"])
async def test_tasks_and_threads_of_a_view_can_read_a_short_body(
    server: Server, reader: str, size: int
) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/read-in/{reader}", "POST", announced(size, "length"))
        await connection.writer.drain()
        connection.writer.write(bytes(size))

        assert str(size).encode() == (await connection.reply()).body


@pytest.mark.parametrize("reader", ["task", "thread", "copied-context"])
async def test_a_task_or_thread_that_reads_a_stream_gets_an_error_that_says_why(
    server: Server, reader: str
) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/read-in/{reader}", "POST", announced(4, "chunked"))

        assert b"only the view's own code can wait" in (await connection.reply()).body


async def test_an_incomplete_short_body_holds_no_thread(server: Server) -> None:
    async with AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(connect(server.url)) for _ in range(THREADS)]
        for connection in slow:
            connection.send("/length/sync", "POST", announced(4, "length"))
            connection.writer.write(b"bo")
        await until_in_flight(server, THREADS)

        assert (200, b"4") == await post(server, "/length/sync", b"body", "length")
        for connection in slow:
            connection.writer.write(b"dy")

        assert [b"4"] * THREADS == [(await connection.reply()).body for connection in slow]


async def test_a_disconnect_in_mid_body_never_reaches_the_view(server: Server) -> None:
    async with connect(server.url) as connection:
        connection.send("/length/sync?note=half-a-body", "POST", announced(4, "length"))
        connection.writer.write(b"bo")
        await until_in_flight(server, 1)

    await until_in_flight(server, 0)
    assert 0 == await event(server, "half-a-body-torn-down")


# Slow clients


@pytest.fixture(scope="module")
def patient_server() -> Iterator[Server]:
    with serve_application(threads=FEW_THREADS, request_timeout=TIMEOUT) as server:
        yield server


async def drip(connection: Connection, framing: str) -> None:
    """Send a body byte by byte until the server closes the connection."""
    while not connection.reader.at_eof():
        connection.writer.write(b"x" if framing == "length" else b"1\r\nx\r\n")
        await asyncio.sleep(0.05)


@both_framings
@pytest.mark.parametrize("number", [FEW_THREADS, 3 * FEW_THREADS])
async def test_slow_bodies_hold_no_thread_that_another_request_needs(
    patient_server: Server, framing: str, number: int
) -> None:
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        slow = []
        for _ in range(number):
            connection = await group.create_task(open_connection(patient_server.url))
            connection.send("/length/sync", "POST", announced(100_000, framing))
            slow.append(connection)
        drips = [group.create_task(drip(connection, framing)) for connection in slow]
        answers = [group.create_task(connection.head()) for connection in slow]
        for _ in range(20):
            assert 200 == (await get(patient_server.url, "/ping/sync")).status
        heads = [await answer for answer in answers]
        for task in drips:
            task.cancel()
        for connection in slow:
            connection.writer.close()

    assert {(408, "close")} == {(status, headers["connection"]) for status, headers in heads}


async def test_a_steady_upload_may_take_longer_than_the_timeout(patient_server: Server) -> None:
    part = bytes(1000 * TIMEOUT)
    async with connect(patient_server.url) as connection:
        connection.send("/length/sync", "POST", announced(50 * len(part), "length"))
        for _ in range(50):  # about 40 times the minimum rate
            connection.writer.write(part)
            await asyncio.sleep(TIMEOUT * 1.2 / 50)

        assert str(50 * len(part)).encode() == (await connection.reply()).body


# Responses, over sockets


@needs_proc
@pytest.mark.parametrize("kind", ["async", "sync", "with-context/async"])
async def test_a_slow_reader_pauses_the_view_and_memory_stays_flat(
    server: Server, kind: str
) -> None:
    before = await held(server)
    async with connect(server.url) as connection:
        connection.send(f"/parts/{kind}?number={PARTS}")
        await connection.head()
        produced = await settled(server, f"{kind.removesuffix('/async')}-parts")
        received = 0
        while chunk := await connection.chunk():
            received += len(chunk)

    assert produced < PARTS / 2
    assert BODY_MIB * 2**20 == received
    assert (await held(server))["peak"] - before["peak"] < GROWTH_KIB


async def test_an_async_iterator_need_not_be_a_generator(server: Server) -> None:
    assert b"tick tick tick " == (await get(server.url, "/ticks")).body


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_an_async_generator_can_keep_the_context_of_its_request(
    server: Server, kind: str
) -> None:
    async with connect(server.url) as one, connect(server.url) as other:
        one.send(f"/names/{kind}?name={kind}-one&note={kind}-one")
        other.send(f"/names/{kind}?name={kind}-other")
        await one.head()
        await other.head()
        for _ in range(10):
            assert f"{kind}-one".encode() == await one.chunk()
            assert f"{kind}-other".encode() == await other.chunk()

    assert 1 == await settled(server, f"{kind}-one-left")
    assert 0 < await settled(server, f"{kind}-one-torn-down")


@pytest.mark.parametrize("kind", ["async", "sync", "sync-in-async"])
async def test_a_stream_arrives_while_it_is_produced(server: Server, kind: str) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/in-two/{kind}", headers="Accept: text/event-stream\r\n")
        _, headers = await connection.head()

        assert headers["content-type"].startswith("text/event-stream")
        assert b"data: first\n\n" == await connection.chunk()

        # The second part waits for this request; the first part must not.
        await get(server.url, f"/open/in-two-{kind}")

        assert b"data: second\n\n" == await connection.chunk()
        assert b"" == await connection.chunk()

    await until_event(server, f"in-two-{kind}-closed")


async def test_an_error_after_the_first_byte_breaks_the_connection(server: Server) -> None:
    async with connect(server.url) as connection:
        connection.send("/broken")
        await connection.head()

        assert b"first" == await connection.chunk()
        with pytest.raises(asyncio.IncompleteReadError):
            await connection.chunk()


@pytest.mark.parametrize("sent", [None, 6, 300_000])
async def test_an_endless_stream_ends_at_a_disconnect_with_or_without_an_unread_body(
    server: Server, sent: int | None
) -> None:
    before = await event(server, "endless-closed")
    async with connect(server.url) as connection:
        if sent is None:
            connection.send("/endless")
        else:
            connection.send("/endless", "POST", announced(1_000_000, "length"))
            connection.writer.write(bytes(sent))
        await connection.head()
        await connection.chunk()

    assert before + 1 == await settled(server, "endless-closed", more_than=before)
