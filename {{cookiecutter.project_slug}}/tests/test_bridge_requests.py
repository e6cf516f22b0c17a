"""What a client can send, over real sockets and with either of uvicorn's parsers and loops."""

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from typing import Any
from unittest.mock import AsyncMock

import pytest
from flask_asgi._request_body import Incoming

from .http_app import THREADS, asgi
from .probes import BODY_MIB, GROWTH_KIB, PARTS, SERVERS, event, held, needs_proc
from .serving import Server, serve
from .wire import Connection, connect, get

pytestmark = pytest.mark.anyio

PART = bytes(65536)

both_kinds = pytest.mark.parametrize("kind", ["async", "sync"])
both_framings = pytest.mark.parametrize("framing", ["length", "chunked"])


both_lengths = pytest.mark.parametrize("size", [4, 65536], ids=["short", "longest"])


@pytest.fixture(scope="module", params=SERVERS.values(), ids=list(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serve("tests.http_app:asgi", *request.param) as server:
        yield server


def announced(size: int, framing: str) -> str:
    return (
        f"Content-Length: {size}\r\n" if framing == "length" else "Transfer-Encoding: chunked\r\n"
    )


def framed(body: bytes, framing: str) -> bytes:
    return body if framing == "length" else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


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


async def seen(connection: Connection, path: str, headers: str = "") -> dict[str, Any]:
    connection.send(path, headers=headers)
    what: dict[str, Any] = json.loads((await connection.reply()).body)
    return what


async def in_flight(server: Server, requests: int) -> None:
    """Wait until so many requests are under way, besides the one that asks."""
    while int((await get(server.url, "/in-flight")).body) != requests + 1:  # noqa: ASYNC110 - remote
        await asyncio.sleep(0.01)


# Bodies


@needs_proc
@both_framings
@both_kinds
async def test_a_large_upload_leaves_memory_flat(server: Server, kind: str, framing: str) -> None:
    before = await held(server)
    async with connect(server.url) as connection:
        connection.send(f"/count/{kind}", "POST", announced(len(PART) * PARTS, framing))
        await write_body(connection, framing)
        counted = int((await connection.reply()).body)

    assert BODY_MIB * 2**20 == counted
    assert (await held(server))["peak"] - before["peak"] < GROWTH_KIB


@both_kinds
async def test_a_view_that_does_not_read_holds_the_client_back(server: Server, kind: str) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/count-later/{kind}", "POST", announced(len(PART) * PARTS, "length"))
        writing = asyncio.create_task(write_body(connection, "length"))

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(writing), 0.3)

        await get(server.url, f"/open/{kind}")
        await writing

        assert BODY_MIB * 2**20 == int((await connection.reply()).body)


@both_kinds
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
@both_kinds
async def test_a_body_over_the_limit_is_answered_413(
    server: Server,
    kind: str,
    view: str,
    framing: str,
) -> None:
    status, _ = await post(server, f"/{view}/{kind}?limit=10", b"eleven byte", framing)

    assert 413 == status


@both_framings
@both_kinds
async def test_a_body_as_long_as_the_limit_is_taken(
    server: Server, kind: str, framing: str
) -> None:
    answer = await post(server, f"/length/{kind}?limit=10", b"exactly 10", framing)

    assert (200, b"10") == answer


@both_framings
@pytest.mark.parametrize(
    "path", ["/length/async?limit=10", "/length/sync?limit=10", "/refuse/sync"]
)
async def test_a_body_that_was_not_read_is_never_taken_for_a_request(
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
@both_kinds
async def test_a_refused_upload_ends_the_connection_but_not_before_the_answer_is_read(
    server: Server, kind: str, framing: str
) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/length/{kind}?limit=10", "POST", announced(2**23, framing))
        connection.writer.write(framed(bytes(2**23), framing))
        await connection.writer.drain()
        await asyncio.sleep(0.1)  # a client that looks for an answer only when it has sent all
        reply = await connection.reply()

        assert (413, "close") == (reply.status, reply.headers["connection"])
        assert b"" == await connection.reader.read()


async def test_a_refused_upload_without_an_end_is_cut_off(server: Server) -> None:
    async with connect(server.url) as connection:
        connection.send("/length/async?limit=10", "POST", "Transfer-Encoding: chunked\r\n")
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(pour(connection), 5)


async def test_a_short_body_that_nobody_reads_does_not_cost_the_connection(server: Server) -> None:
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
async def test_a_body_that_the_view_does_not_want_is_not_asked_for(
    server: Server, path: str, status: int
) -> None:
    async with connect(server.url) as connection:
        connection.send(path, "POST", "Content-Length: 20\r\nExpect: 100-continue\r\n")

        reply = await connection.reply()

        # The client may send the body or go on without: only the end of the connection is clear.
        assert (status, "close") == (reply.status, reply.headers["connection"])
        assert b"" == await connection.reader.read()


@both_kinds
async def test_a_body_that_the_view_wants_is_asked_for(server: Server, kind: str) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/count/{kind}", "POST", "Content-Length: 4\r\nExpect: 100-continue\r\n")
        assert 100 == (await connection.head())[0]
        connection.writer.write(b"body")

        assert b"4" == (await connection.reply()).body


@both_lengths
@pytest.mark.parametrize("reader", ["task", "thread", "copied-context"])
async def test_what_a_view_starts_can_read_a_short_body(
    server: Server, reader: str, size: int
) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/read-in/{reader}", "POST", announced(size, "length"))
        await connection.writer.drain()
        connection.writer.write(bytes(size))

        assert str(size).encode() == (await connection.reply()).body


@pytest.mark.parametrize("reader", ["task", "thread", "copied-context"])
async def test_what_a_view_starts_is_told_why_it_cannot_read_a_stream(
    server: Server, reader: str
) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/read-in/{reader}", "POST", announced(4, "chunked"))

        assert b"only the view's own code can wait" in (await connection.reply()).body


async def test_a_short_body_on_its_way_holds_no_thread(server: Server) -> None:
    async with AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(connect(server.url)) for _ in range(THREADS)]
        for connection in slow:
            connection.send("/length/sync", "POST", announced(4, "length"))
            connection.writer.write(b"bo")
        await in_flight(server, THREADS)

        assert (200, b"4") == await post(server, "/length/sync", b"body", "length")
        for connection in slow:
            connection.writer.write(b"dy")

        assert [b"4"] * THREADS == [(await connection.reply()).body for connection in slow]


async def test_a_client_that_leaves_in_mid_body_never_reaches_the_view(server: Server) -> None:
    async with connect(server.url) as connection:
        connection.send("/length/sync?note=half-a-body", "POST", announced(4, "length"))
        connection.writer.write(b"bo")
        await in_flight(server, 1)

    await in_flight(server, 0)
    assert 0 == await event(server, "half-a-body-torn-down")


async def test_a_part_that_came_while_a_thread_was_about_to_wait_for_it_is_not_missed() -> None:
    messages: asyncio.Queue[Any] = asyncio.Queue()
    messages.put_nowait({"type": "http.request", "body": b"last", "more_body": False})
    incoming = Incoming(messages.get, on_disconnect=lambda: None)
    incoming.expect_body(None, withheld=False)
    incoming.watch()
    while incoming.is_incomplete:  # noqa: ASYNC110 - the background task tells nobody
        await asyncio.sleep(0)

    await asyncio.wait_for(incoming.receive_ahead(), 1)

    assert b"last" == bytes(incoming.unread)
    incoming.stop()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.12 is the first with eager tasks")
@both_kinds
def test_a_body_arrives_where_tasks_run_at_once(kind: str) -> None:
    parts = [bytes(65536)] * 5
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": part, "more_body": True} for part in parts
    ]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    scope: dict[str, Any] = {"type": "http", "http_version": "1.1", "method": "POST"}
    scope |= {"path": f"/count/{kind}", "query_string": b""}
    scope |= {"headers": [(b"transfer-encoding", b"chunked")]}
    send = AsyncMock()

    async def receive() -> dict[str, Any]:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop(0)

    async def request() -> None:
        await asyncio.wait_for(asgi(scope, receive, send), 5)  # type: ignore[arg-type] # plain dicts

    with asyncio.Runner() as runner:
        runner.get_loop().set_task_factory(vars(asyncio)["eager_task_factory"])
        runner.run(request())

    assert str(5 * 65536).encode() == send.call_args_list[1].args[0]["body"]


# Heads


@both_kinds
async def test_headers_arrive_as_they_were_meant(server: Server, kind: str) -> None:
    lines = [
        "Cookie: a=1",
        "Cookie: b=2",
        "X-Twice: 1",
        "X-Twice: 2",
        "X_Twice: 3",
        "X-Odd: Zo\xeb",
    ]
    headers = "".join(f"{line}\r\n" for line in lines)
    async with connect(server.url) as connection:
        what = await seen(connection, f"/seen/{kind}", headers)

    assert {"a": "1", "b": "2"} == what["cookies"]
    assert "1,2" == what["headers"]["X-Twice"]
    assert "Zo\xeb" == what["headers"]["X-Odd"]


async def test_a_header_repeated_too_often_is_refused_and_the_connection_goes_on(
    server: Server,
) -> None:
    async with connect(server.url) as connection:
        connection.send("/seen/async", "POST", "X-Many: 1\r\n" * 101, b"body")
        assert 400 == (await connection.reply()).status
        connection.send("/status/200/async")

        assert b"body" == (await connection.reply()).body


@both_kinds
async def test_odd_bytes_in_path_and_query_arrive_as_they_were_sent(
    server: Server, kind: str
) -> None:
    async with connect(server.url) as connection:
        what = await seen(connection, f"/seen/{kind}/%FF%00%C3%AB%2F+;?q=%FF&%zz&%C3%AB")

    assert f"/seen/{kind}/".encode() + b"\xff\0\xc3\xab/+;" == bytes.fromhex(what["path"])
    assert b"q=%FF&%zz&%C3%AB" == bytes.fromhex(what["query"])


async def test_a_target_may_be_a_whole_url(server: Server) -> None:
    async with connect(server.url) as connection:
        what = await seen(connection, "http://service.example/seen/async/a%20b?q=1")

    assert b"/seen/async/a b" == bytes.fromhex(what["path"])
    assert b"q=1" == bytes.fromhex(what["query"])


async def test_a_target_that_is_no_path_is_not_found(server: Server) -> None:
    async with connect(server.url) as connection:
        connection.send("*", "OPTIONS")

        assert 404 == (await connection.reply()).status


async def test_an_http_1_0_client_is_answered_and_let_go(server: Server) -> None:
    async with connect(server.url) as connection:
        connection.writer.write(b"GET /status/200/async HTTP/1.0\r\n\r\n")
        answer = await connection.reader.read()

    assert answer.endswith(b"\r\n\r\nbody")


@both_kinds
async def test_responses_without_a_body_have_none(server: Server, kind: str) -> None:
    heads = []
    async with connect(server.url) as connection:
        connection.send(f"/status/200/{kind}", "HEAD")
        connection.send(f"/parts/10/{kind}", "HEAD")
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


def test_a_root_path_is_taken_off_the_path() -> None:
    with serve("tests.http_app:asgi", "--root-path", "/v1") as server:
        what = json.loads(server.get("/seen/async/%C3%AB")[1])

    assert "/v1" == what["root_path"]
    assert "/seen/async/\xeb".encode() == bytes.fromhex(what["path"])
