"""What goes wrong in a request, or is done by a client on purpose, harms no other request."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, suppress

import pytest

from .serving import PATIENCE, Server, serve, wait_until
from .wire import Connection, Reply, connect, get

pytestmark = pytest.mark.anyio

THREADS = 4
TIMEOUT = 2


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Serve with the service's own command."""
    env = {
        "LOG_FORMAT": "json",
        "REQUEST_TIMEOUT_SECONDS": str(TIMEOUT),
        "WORKER_THREADS": str(THREADS),
    }
    with serve("tests.faulty_service", env=env) as server:
        yield server


async def log_of(server: Server) -> str:
    return await asyncio.to_thread(lambda: server.log)


def access_lines(log: str, route: str) -> list[dict[str, object]]:
    """Return what the access log says of a route."""
    lines = map(json.loads, filter(lambda line: line.startswith("{"), log.splitlines()))
    return [line for line in lines if "status" in line and line.get("route") == route]


# What would end the server


@pytest.mark.parametrize("how", ["exit", "ctrl-c"])
@pytest.mark.parametrize(
    ("where", "status"),
    [
        ("async", 500),
        ("sync", 500),
        ("method-view", 500),
        ("decorated", 500),
        ("gathered", 500),
        ("task-group", 500),
        ("hook", 500),
        ("teardown", 500),
        ("background", 200),
        ("unattended-task", 200),
        ("stream-async", 200),
        ("stream-sync", 200),
    ],
)
async def test_sys_exit_ends_its_request_and_not_the_service(
    server: Server, where: str, status: int, how: str
) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/leave/{where}?how={how}")

        assert status == (await connection.head())[0]

    assert 200 == (await get(server.url, "/livez")).status


async def test_sys_exit_in_a_view_is_a_problem_with_an_id(server: Server) -> None:
    reply = await get(server.url, "/leave/method-view")

    assert reply.headers["x-request-id"] == json.loads(reply.body)["request_id"]


@pytest.mark.parametrize("kind", ["awaited", "gathered", "raised", "in-a-thread"])
async def test_a_cancellation_of_something_else_is_a_500(server: Server, kind: str) -> None:
    reply = await get(server.url, f"/cancelled/{kind}")

    assert (500, "application/problem+json") == (reply.status, reply.headers["content-type"])
    route = "/cancelled/in-a-thread" if kind == "in-a-thread" else "/cancelled/<kind>"
    assert {500} == {line["status"] for line in access_lines(await log_of(server), route)}


# Answers of the engine's own


async def test_a_408_has_the_headers_and_the_log_line_of_any_answer(server: Server) -> None:
    before = len(access_lines(await log_of(server), "/async/read"))
    async with connect(server.url) as connection:
        connection.send("/async/read", "POST", "Content-Length: 9\r\nX-Request-ID: slow-body\r\n")
        reply = await connection.reply()

    assert (408, "close") == (reply.status, reply.headers["connection"])
    assert "slow-body" == reply.headers["x-request-id"]
    assert "slow-body" == json.loads(reply.body)["request_id"]
    assert [408] == [
        line["status"] for line in access_lines(await log_of(server), "/async/read")[before:]
    ]


async def test_a_504_has_the_headers_and_the_log_line_of_any_answer(server: Server) -> None:
    async with connect(server.url) as connection:
        connection.send("/async/hang", headers="X-Request-ID: slow-view\r\n")
        reply = await connection.reply()

    assert 504 == reply.status
    assert "slow-view" == reply.headers["x-request-id"]
    assert "slow-view" == json.loads(reply.body)["request_id"]
    assert [504] == [line["status"] for line in access_lines(await log_of(server), "/async/hang")]


def test_a_503_has_the_headers_and_the_log_line_of_any_answer() -> None:
    async def ask(url: str) -> Reply:
        async with connect(url) as one, connect(url) as other:
            one.send("/async/hang")
            while True:  # until the first is inside
                other.send("/async/nothing", headers="X-Request-ID: too-many\r\n")
                if (reply := await other.reply()).status != 200:
                    return reply

    with serve("tests.faulty_service", env={"MAX_IN_FLIGHT": "1", "LOG_FORMAT": "json"}) as server:
        reply = asyncio.run(asyncio.wait_for(ask(server.url), PATIENCE))
        lines = access_lines(server.log, "/async/nothing")

    assert (503, "1") == (reply.status, reply.headers["retry-after"])
    assert "too-many" == reply.headers["x-request-id"]
    refused = [line["request_id"] for line in lines if line["status"] == 503]
    assert ["too-many"] == refused


# Another protocol that nobody speaks

UPGRADES = [
    "Connection: Upgrade\r\nUpgrade: h2c\r\n",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    "Connection: upgrade\r\nUpgrade: anything, at/1 all\r\n",
    "Upgrade: TLS/1.0\r\nConnection: keep-alive, Upgrade\r\n",
    "Connection: Upgrade\r\nConnection: keep-alive\r\nUpgrade: a\r\nUpgrade: b\r\n",
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "Upgrade: without-connection\r\n",
]
SMUGGLED = b"POST /executed HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("apart", [True, False], ids=["apart", "together"])
async def test_a_request_that_asks_for_another_protocol_is_an_ordinary_one(
    server: Server, upgrade: str, framing: str, kind: str, *, apart: bool
) -> None:
    head = f"Content-Length: {len(SMUGGLED)}\r\n" if framing == "length" else ""
    head = head or "Transfer-Encoding: chunked\r\n"
    async with connect(server.url) as connection:
        connection.send(f"/{kind}/read", "POST", upgrade + head)
        if apart:
            await connection.writer.drain()
            await asyncio.sleep(0.01)
        connection.writer.write(SMUGGLED if framing == "length" else CHUNKED)
        first = await connection.reply()
        connection.send("/livez")
        second = await connection.reply()

    assert (200, str(len(SMUGGLED)).encode()) == (first.status, first.body)
    assert (200, "alive") == (second.status, json.loads(second.body)["status"])
    assert "a body was executed" not in await log_of(server)


async def test_many_such_requests_at_once_are_all_answered(server: Server) -> None:
    number = 1500  # more than Python's calls may be nested
    async with connect(server.url) as connection:
        for _ in range(number):
            connection.send("/async/nothing", headers=UPGRADES[0])
        statuses = [(await connection.reply()).status for _ in range(number)]

    assert {200} == set(statuses)


async def test_a_get_for_a_websocket_is_an_ordinary_one(server: Server) -> None:
    async with connect(server.url) as connection:
        connection.send("/livez", headers=UPGRADES[5])
        connection.send("/livez")

        assert [200, 200] == [(await connection.reply()).status for _ in range(2)]


@pytest.mark.parametrize("flags", [[], ["--http", "h11"]], ids=["httptools", "h11"])
def test_under_uvicorns_own_command_such_a_request_is_the_connections_last(
    flags: list[str],
) -> None:
    # With httptools, uvicorn loses the body. The day that this is mended it arrives.
    upgrade = f"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: {len(SMUGGLED)}\r\n"

    async def ask(url: str) -> tuple[int, bytes]:
        async with connect(url) as connection:
            connection.send("/async/read", "POST", upgrade)
            await connection.writer.drain()
            await asyncio.sleep(0.05)
            connection.writer.write(SMUGGLED)
            reply = await connection.reply()
            return reply.status, reply.body + await connection.reader.read()

    with serve("tests.faulty_service:asgi", *flags) as server:
        answer = asyncio.run(ask(server.url))
        log = server.log

    assert "a body was executed" not in log
    assert (answer[0] == 400) if not flags else ((200, str(len(SMUGGLED)).encode()) == answer)


async def test_connect_is_refused_and_ends_the_connection(server: Server) -> None:
    async with connect(server.url) as connection:
        connection.writer.write(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n")
        await asyncio.sleep(0.01)
        connection.writer.write(SMUGGLED)
        answer = await connection.reader.read()

    assert re.match(rb"HTTP/1.1 40\d ", answer)
    assert "a body was executed" not in await log_of(server)


# Crowds


async def test_a_crowd_does_not_keep_a_health_check_waiting(server: Server) -> None:
    crowd = 100
    async with asyncio.timeout(20), AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(connect(server.url)) for _ in range(crowd)]
        for connection in opened:
            connection.send("/async/work")
        answers = [asyncio.create_task(connection.reply()) for connection in opened]

        health = await get(server.url, "/livez")
        served = sum(answer.done() for answer in answers)
        statuses = {(await answer).status for answer in answers}

    assert 200 == health.status
    assert served < crowd / 2
    assert {200} <= statuses <= {200, 503, 504}  # the last two on a slow machine


# Clients that leave


async def reset(server: Server, paths: Sequence[str], after: float) -> None:
    """Send requests at once, and break the connection off."""
    async with connect(server.url) as connection:
        for path in paths:
            connection.send(path)
        await connection.writer.drain()
        await asyncio.sleep(after)
        connection.writer.transport.abort()


async def test_clients_that_break_off_cost_no_traceback(server: Server) -> None:
    before = (await log_of(server)).count("Traceback")
    paths = ["/async/hang", "/sync/nothing", "/async/stream", "/sync/stream", "/async/endless"]
    for first in range(len(paths)):
        rotated = (paths[first:] + paths[:first]) * 4
        lasts = range(1, 20, 3)
        await asyncio.gather(*(reset(server, rotated[:last], last / 4000) for last in lasts))

    async with asyncio.timeout(10):  # all are cancelled, those that nobody had come to as well
        while (await get(server.url, "/in-flight")).body != b"1":  # noqa: ASYNC110 - remote
            await asyncio.sleep(0.01)
    assert before == (await log_of(server)).count("Traceback")


# Clients that take their time


async def drip(connection: Connection, framing: str) -> None:
    """Send a body a byte at a time, and stop when the server has had enough."""
    while not connection.reader.at_eof():
        connection.writer.write(b"x" if framing == "length" else b"1\r\nx\r\n")
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("number", [THREADS, 3 * THREADS])
async def test_slow_bodies_hold_no_thread_that_another_request_needs(
    server: Server, framing: str, number: int
) -> None:
    declared = "Content-Length: 100000\r\n" if framing == "length" else ""
    declared = declared or "Transfer-Encoding: chunked\r\n"
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        slow = []
        for _ in range(number):
            connection = await group.create_task(_open(server.url))
            connection.send("/sync/read", "POST", declared)
            slow.append(connection)
        drips = [group.create_task(drip(connection, framing)) for connection in slow]
        answers = [group.create_task(connection.head()) for connection in slow]
        for _ in range(20):
            assert 200 == (await get(server.url, "/sync/nothing")).status
        heads = [await answer for answer in answers]
        for task in drips:
            task.cancel()
        for connection in slow:
            connection.writer.close()

    assert {(408, "close")} == {(status, headers["connection"]) for status, headers in heads}


async def _open(url: str) -> Connection:
    host, port = url.removeprefix("http://").split(":")
    return Connection(*await asyncio.open_connection(host, int(port)))


async def test_a_steady_upload_may_take_longer_than_the_timeout(server: Server) -> None:
    part = bytes(1000 * TIMEOUT)
    async with connect(server.url) as connection:
        connection.send("/sync/read", "POST", f"Content-Length: {50 * len(part)}\r\n")
        for _ in range(50):  # some 40 times as fast as the least rate
            connection.writer.write(part)
            await asyncio.sleep(TIMEOUT * 1.2 / 50)

        assert str(50 * len(part)).encode() == (await connection.reply()).body


# Stops


def test_a_stream_that_looks_for_the_stop_ends_with_it() -> None:
    async def stream(server: Server) -> list[bytes]:
        async with connect(server.url) as connection:
            connection.send("/until-draining")
            await connection.head()
            first = await connection.chunk()
            server.process.send_signal(signal.SIGTERM)
            return [first, await connection.chunk(), await connection.chunk()]

    with serve("tests.faulty_service") as server:
        chunks = asyncio.run(asyncio.wait_for(stream(server), PATIENCE))

        assert server.process.wait(PATIENCE) == 0
    assert [b"data: first\n\n", b"data: last\n\n", b""] == chunks


@pytest.mark.parametrize("path", ["/async/endless", "/async/hang"])
def test_a_stop_that_runs_out_of_time_is_a_line_and_no_traceback(path: str) -> None:
    async def ask(server: Server) -> bytes:
        async with connect(server.url) as connection:
            connection.send(path)
            if path == "/async/endless":
                await connection.head()
            await get(server.url, "/livez")
            server.process.send_signal(signal.SIGTERM)
            try:
                return await connection.reader.read()
            except ConnectionError:
                return b"reset"

    with serve("tests.faulty_service", env={"SHUTDOWN_GRACE_SECONDS": "1"}) as server:
        answer = asyncio.run(asyncio.wait_for(ask(server), PATIENCE))

        assert server.process.wait(PATIENCE) == 0
        assert 1 == server.log.count("did not end within 1 s")
        assert "Traceback" not in server.log
        assert "ERROR   uvicorn" not in server.log
    assert answer.startswith(b"HTTP/1.1 503") == (path == "/async/hang")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_sighup_stops_as_sigterm_does() -> None:
    with serve("tests.faulty_service") as server:
        server.process.send_signal(signal.Signals["SIGHUP"])

        assert server.process.wait(PATIENCE) == 0


def test_a_stop_of_several_workers_resets_no_connection() -> None:
    with serve("tests.faulty_service", "--workers", "2") as server:
        wait_until(lambda: server.log.count("Application startup complete") == 2)
        server.process.send_signal(signal.SIGTERM)
        with suppress(ConnectionRefusedError):
            while True:  # answered, as long as the socket is open
                assert server.get("/livez")[0] == 200

        assert server.process.wait(PATIENCE) == 0


def test_all_addresses_are_those_of_ipv4_too() -> None:
    with serve("tests.faulty_service", "--host", "::") as server:
        assert server.get("/livez")[0] == 200


def test_workers_end_with_their_parent() -> None:
    with serve("tests.faulty_service", "--workers", "2") as server:
        wait_until(lambda: server.log.count("Application startup complete") == 2)
        server.process.kill()
        server.process.wait(PATIENCE)

        wait_until(lambda: not server.accepts())
