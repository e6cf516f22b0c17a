"""No request leaves anything behind that only the collector of cyclic garbage could free."""

import ast
import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from flask_asgi import _bridge as module

from .serving import Server, serve
from .wire import connect, get

pytestmark = pytest.mark.anyio

TIMES = 10

# What `StateMachineMatcher.match` of Werkzeug leaves whenever a URL is not known by heart: a
# function that refers to itself. It holds nothing of the request but its method.
MATCHED = {"cell": 5, "function": 1, "set": 1, "tuple": 1}

LONG = 150_000
TOO_LONG = 250_000  # for the application's limit


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    env = {"PRICES__BASE_URL": "http://127.0.0.1:1", "REQUEST_TIMEOUT_SECONDS": "0.5"}
    with serve("tests.faulty_service", env=env) as server:
        yield server


async def left_behind(server: Server) -> dict[str, int]:
    """Return what is found, by type, once nothing is under way any more."""
    await asyncio.sleep(0.1)
    found: dict[str, int] = json.loads((await get(server.url, "/garbage")).body)["kinds"]
    return found


class Request(NamedTuple):
    """A request, and the status of its answer; 0 for a client that does not wait for one."""

    status: int
    method: str
    path: str
    headers: str = ""
    body: bytes = b""


async def send(server: Server, request: Request) -> int:
    """Return the status of the answer on a connection of its own, which then ends."""
    async with connect(server.url) as connection:
        close = "Connection: close\r\n" if request.status else ""
        connection.send(request.path, request.method, close + request.headers)
        connection.writer.write(request.body)
        if not request.status:
            await asyncio.sleep(0.15)  # longer than a view waits before the bridge looks around
            return 0
        reply = await connection.reply()
        await connection.reader.read()
        return reply.status


async def check(server: Server, request: Request, allowed: dict[str, int]) -> None:
    """Send the request some times over, and look at what is left."""
    await send(server, request)
    await left_behind(server)
    answers = await asyncio.gather(*(send(server, request) for _ in range(TIMES)))

    assert {request.status} == set(answers)
    expected = {name: number * TIMES for name, number in allowed.items()}
    assert expected == await left_behind(server)


def length(number: int) -> str:
    return f"Content-Length: {number}\r\n"


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


CHUNKED = "Transfer-Encoding: chunked\r\n"


REQUESTS = {
    "no body": Request(200, "GET", "nothing"),
    "short": Request(200, "POST", "read", length(100), bytes(100)),
    "long": Request(200, "POST", "read", length(LONG), bytes(LONG)),
    "chunked": Request(200, "POST", "read", CHUNKED, chunked(bytes(LONG))),
    "stream": Request(200, "GET", "stream"),
    "stream with context": Request(200, "GET", "stream-with-context"),
    "400 of the engine": Request(400, "GET", "nothing", "X: 1\r\n" * 101),
    "408": Request(408, "POST", "read", length(9)),
    "413": Request(413, "POST", "read", length(TOO_LONG), bytes(TOO_LONG)),
    "413 chunked": Request(413, "POST", "read", CHUNKED, chunked(bytes(TOO_LONG))),
    "500": Request(500, "GET", "bug"),
    "aborted": Request(0, "POST", "read", length(LONG), bytes(1000)),
    "aborted short": Request(0, "POST", "read", length(2000), bytes(1000)),
    "aborted chunked": Request(0, "POST", "read", CHUNKED, b"5\r\nab"),
}
UNKNOWN_URLS = {
    "400": Request(400, "GET", "status/400"),
    "404": Request(404, "GET", "absent"),
    "405": Request(405, "POST", "nothing", length(0)),
    "503": Request(503, "GET", "status/503"),
}
WAITING = {
    "hang": Request(0, "GET", "/async/hang"),
    "endless": Request(0, "GET", "/async/endless"),
    "504": Request(504, "GET", "/async/hang"),
}


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_leaves_no_cycle(server: Server, kind: str, name: str) -> None:
    request = REQUESTS[name]
    await check(server, request._replace(path=f"/{kind}/{request.path}"), {})


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("name", UNKNOWN_URLS)
async def test_a_url_that_is_matched_leaves_werkzeugs_cycle_alone(
    server: Server, kind: str, name: str
) -> None:
    request = UNKNOWN_URLS[name]
    await check(server, request._replace(path=f"/{kind}/{request.path}"), MATCHED)


@pytest.mark.parametrize("name", WAITING)
async def test_a_view_that_is_cancelled_leaves_no_cycle(server: Server, name: str) -> None:
    await check(server, WAITING[name], {})


def uncontained(source: Path) -> Iterator[str]:
    """Find the tasks that a `SystemExit` inside would take the event loop along with."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).rpartition(".")[2]
        makes_task = name in {"create_task", "ensure_future", "run_coroutine_threadsafe", "Task"}
        if makes_task and not ast.unparse(node.args[0]).startswith(("contained(", "receive")):
            yield f"{source.name}:{node.lineno}"


def test_every_task_contains_what_would_end_the_server() -> None:
    # `Incoming._receive_in_background` runs nothing of the application.
    # `Server.run` makes the task that is the server.
    package = Path(module.__file__).parents[1]
    sources = [each for each in package.rglob("*.py") if each.name != "_server.py"]

    assert [found for source in sources for found in uncontained(source)] == []
