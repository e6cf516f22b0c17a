"""No request leaves objects that only the garbage collector could free."""

import ast
import asyncio
import gc
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import flask_asgi
import pytest
from flask import Flask, request
from flask_asgi import FlaskToAsgi

from tests.serving import Server

from .asgi_client import ask, both_kinds, http_scope, until_freed
from .probes import serve_application, until_in_flight
from .wire import announced, connect, framed, get_json

pytestmark = pytest.mark.anyio

TIMES = 10

# Werkzeug's `StateMachineMatcher.match` leaves a function that refers to itself for each URL that
# is not cached. The function holds nothing of the request but its method.
MATCHED = {"cell": 5, "function": 1, "set": 1, "tuple": 1}

LONG = 150_000
TOO_LONG = 250_000  # for the application's limit


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve_application(request_timeout=1) as server:
        yield server


async def left_behind(server: Server) -> dict[str, int]:
    """Return the garbage by type, once no request is in flight."""
    await until_in_flight(server, 0)
    await asyncio.sleep(0.1)  # the connections of clients that have left are closed by then
    found: dict[str, int] = await get_json(server.url, "/garbage")
    return found


class Request(NamedTuple):
    """A request, and the status of its answer; 0 for a client that does not wait for one."""

    status: int
    method: str
    path: str
    headers: str = ""
    body: bytes = b""


async def send(server: Server, request: Request) -> int:
    """Return the status of the answer on a separate connection, which then ends."""
    async with connect(server.url) as connection:
        close = "Connection: close\r\n" if request.status else ""
        connection.send(request.path, request.method, close + request.headers)
        connection.writer.write(request.body)
        if not request.status:
            await asyncio.sleep(0.15)  # until the bridge watches for a disconnect
            return 0
        reply = await connection.reply()
        await connection.reader.read()
        return reply.status


async def check(server: Server, request: Request, allowed: dict[str, int]) -> None:
    """Send the request `TIMES` times, and check the garbage."""
    await send(server, request)
    await left_behind(server)
    answers = await asyncio.gather(*(send(server, request) for _ in range(TIMES)))

    assert {request.status} == set(answers)
    expected = {name: number * TIMES for name, number in allowed.items()}
    assert expected == await left_behind(server)


def post(status: int, path: str, size: int, framing: str = "length") -> Request:
    return Request(status, "POST", path, announced(size, framing), framed(bytes(size), framing))


def aborted(sent: bytes, size: int, framing: str = "length") -> Request:
    return Request(0, "POST", "/length/{}", announced(size, framing), sent)


CHUNKED = "chunked"
LIMITED = "/length/{}?limit=200000"

REQUESTS = {
    "no body": Request(200, "GET", "/ping/{}"),
    "short": post(200, "/length/{}", 100),
    "long": post(200, "/length/{}", LONG),
    "chunked": post(200, "/length/{}", LONG, CHUNKED),
    "stream": Request(200, "GET", "/parts/{}?number=3"),
    "stream with context": Request(200, "GET", "/parts/with-context/{}?number=3"),
    "400 of the engine": Request(400, "GET", "/ping/{}", "X: 1\r\n" * 101),
    "408": Request(408, "POST", "/length/{}", announced(9, "length")),
    "413": post(413, LIMITED, TOO_LONG),
    "413 chunked": post(413, LIMITED, TOO_LONG, CHUNKED),
    "500": Request(500, "GET", "/bug/{}"),
    "aborted": aborted(bytes(1000), LONG),
    "aborted short": aborted(bytes(1000), 2000),
    "aborted chunked": aborted(b"5\r\nab", 5, CHUNKED),
}
UNKNOWN_URLS = {
    "400": Request(400, "GET", "/abort/400/{}"),
    "404": Request(404, "GET", "/absent"),
    "405": Request(405, "POST", "/ping/{}", announced(0, "length")),
    "503": Request(503, "GET", "/abort/503/{}"),
}
WAITING = {
    "hang": Request(0, "GET", "/hang"),
    "endless": Request(0, "GET", "/endless"),
    "stream": Request(200, "GET", "/ticks"),
    "504": Request(504, "GET", "/hang"),
}


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_leaves_no_cycle(server: Server, kind: str, name: str) -> None:
    request = REQUESTS[name]
    await check(server, request._replace(path=request.path.format(kind)), {})


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("name", UNKNOWN_URLS)
async def test_a_matched_url_leaves_only_werkzeugs_cycle(
    server: Server, kind: str, name: str
) -> None:
    request = UNKNOWN_URLS[name]
    await check(server, request._replace(path=request.path.format(kind)), MATCHED)


@pytest.mark.parametrize("name", WAITING)
async def test_a_view_that_waits_leaves_no_cycle(server: Server, name: str) -> None:
    await check(server, WAITING[name], {})


@pytest.mark.parametrize("path", ["/async", "/at-once", "/sync"])
def test_no_body_outlives_its_request(app: Flask, path: str) -> None:
    bodies: list[weakref.ref[object]] = []

    def note() -> str:
        bodies.append(weakref.ref(request.environ["wsgi.input"]))
        return "ok"

    both_kinds(app, note)

    @app.get("/at-once")
    async def at_once() -> str:
        return note()

    async def requests() -> None:
        bridge = FlaskToAsgi(app)
        for _ in range(3):
            assert (200, b"ok") == await ask(bridge, http_scope(path))
        await until_freed(bodies)

    gc.disable()
    try:
        # A new thread has no greenlet yet, and no thread that has served a request.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, requests()).result()
    finally:
        gc.enable()

    assert 3 == len(bodies)


def uncontained(source: Path) -> Iterator[str]:
    """Find the tasks in which a `SystemExit` would end the event loop."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        makes_task = name in {"create_task", "ensure_future", "run_coroutine_threadsafe", "Task"}
        if makes_task and not ast.unparse(node.args[0]).startswith(("contained(", "receive")):
            yield f"{source.name}:{node.lineno}"


def test_every_task_contains_a_system_exit() -> None:
    # `Incoming._receive_in_background` runs nothing of the application.
    # `Server.run` makes the task that is the server.
    folder = Path(flask_asgi.__file__).parents[1]  # also has the other libraries and the service
    sources = [each for each in folder.rglob("*.py") if each.name != "_server.py"]

    assert [found for source in sources for found in uncontained(source)] == []
