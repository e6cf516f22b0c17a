"""Flask under a real server. Each view is above its test; `python -m` serves only the views."""

import asyncio
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from contextvars import ContextVar
from http.client import HTTPConnection

import flask_asgi
import httpx
import pytest
import uvicorn
from flask import Flask, Response, request, stream_with_context

from ..serving import PATIENCE, serve

CLIENTS = 50  # inside a view at once
app = Flask(__name__)
lifespan = flask_asgi.Lifespan()
asgi = flask_asgi.FlaskToAsgi(app, lifespan=lifespan, threads=CLIENTS)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """Return a client of the application, which keeps its connections."""
    with (
        flask_asgi.serve_in_thread(asgi) as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE) as client,
    ):
        yield client


@pytest.fixture
def connection(client: httpx.Client) -> Iterator[HTTPConnection]:
    """Return a connection to the application, for requests that no HTTP client sends."""
    with closing(HTTPConnection(client.base_url.netloc.decode(), timeout=PATIENCE)) as connection:
        yield connection


meeting = asyncio.Barrier(CLIENTS)
meeting_of_threads = threading.Barrier(CLIENTS, timeout=PATIENCE)


@app.get("/meet/async")
async def meet_async() -> str:
    await meeting.wait()
    return "met"


@app.get("/meet/sync")
def meet_sync() -> str:
    meeting_of_threads.wait()
    return "met"


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_requests_run_concurrently_in_a_view(client: httpx.Client, kind: str) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(client.get, [f"/meet/{kind}"] * CLIENTS))

    assert [answer.text for answer in answers] == ["met"] * CLIENTS


left_behind: ContextVar[str] = ContextVar("left_behind", default="clean")


@app.get("/visit/async")
async def visit_async() -> list[str]:
    return visit_sync()


@app.get("/visit/sync")
def visit_sync() -> list[str]:
    found = left_behind.get()
    left_behind.set("by an earlier request")
    return [found, request.environ["REMOTE_PORT"]]


def test_each_request_of_a_kept_connection_has_a_clean_context(client: httpx.Client) -> None:
    # asgiref's own bridge answers about half of these with a 500.
    visits = [client.get(f"/visit/{kind}").json() for kind in ["async", "sync"] * 100]

    assert {context for context, _ in visits} == {"clean"}
    assert len({port for _, port in visits}) == 1


@app.post("/echo/async")
async def echo_async() -> Response:
    return echo_sync()


@app.post("/echo/sync")
def echo_sync() -> Response:
    return Response(stream_with_context(iter(lambda: request.stream.read(5), b"")))


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_bodies_are_streamed_both_ways(connection: HTTPConnection, kind: str) -> None:
    connection.putrequest("POST", f"/echo/{kind}")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders(b"5\r\nfirst\r\n")
    upload = connection.sock  # kept: a response that closes its connection removes it
    response = connection.getresponse()
    assert response.read(5) == b"first"
    upload.sendall(b"5\r\nlater\r\n0\r\n\r\n")
    assert response.read() == b"later"


wait_begins, wait_ends, endless_ends = (threading.Event() for _ in range(3))


@app.get("/wait")
async def wait() -> str:
    wait_begins.set()
    try:
        await asyncio.Event().wait()
    finally:
        wait_ends.set()
    return "never"


def test_a_client_disconnect_cancels_its_view(connection: HTTPConnection) -> None:
    connection.request("GET", "/wait")
    assert wait_begins.wait(PATIENCE)
    connection.close()

    assert wait_ends.wait(PATIENCE)


@app.get("/endless")
async def endless() -> AsyncIterator[bytes]:
    try:
        while True:
            yield bytes(65_536)
            await asyncio.sleep(0)
    finally:
        endless_ends.set()


def test_a_client_disconnect_ends_its_stream(client: httpx.Client) -> None:
    with client.stream("GET", "/endless") as response:
        assert next(response.iter_raw())  # although the last part never arrives

    assert endless_ends.wait(PATIENCE)


readiness = flask_asgi.Readiness()


@lifespan.add
@asynccontextmanager
async def draining(_app: Flask) -> AsyncIterator[None]:
    with flask_asgi.drain_on_signal(readiness, delay=0):
        yield


@app.get("/stop")
async def stop() -> str:
    asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)
    await readiness.until_draining()
    await asyncio.sleep(0.5)  # longer than the server takes to stop listening
    return "answered"


def test_sigterm_drains_and_exits_with_0() -> None:
    with serve("tests.contract.test_flask_asgi") as server:
        assert server.get("/stop") == (200, "answered")
        assert server.process.wait(PATIENCE) == 0


if __name__ == "__main__":
    flask_asgi.run(uvicorn.Config(asgi, port=int(sys.argv[-1]), http=flask_asgi.HttpProtocol))
