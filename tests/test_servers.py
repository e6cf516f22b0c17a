"""The engine under other servers that a team may use."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from . import libraries
from .baking import OLDEST, ROOT
from .serving import PATIENCE, free_port, running, wait_until

UPLOAD_MIB = 200

# Each server's extra package and its command; {port} is filled in.
ASGI = {
    "uvicorn": ("websockets", "uvicorn serving:asgi --port {port}"),
    "hypercorn": ("hypercorn", "hypercorn serving:asgi --bind 127.0.0.1:{port}"),
    "granian": ("granian", "granian --interface asgi --port {port} serving:asgi"),
    "gunicorn": (
        "gunicorn>=25",
        "gunicorn --worker-class asgi --bind 127.0.0.1:{port} serving:asgi",
    ),
}
USUAL = {"uvicorn"}  # the others are heavy
WSGI = {
    "gunicorn-gthread": (
        "gunicorn>=25",
        "gunicorn --worker-class gthread --threads 4 --bind 127.0.0.1:{port} serving:app",
    ),
    "flask-run": ("flask", "flask --app serving:app run --port {port}"),
}

HANDSHAKE = (
    "GET /json/async HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

APPLICATION = """
import asyncio
import contextlib
import time
from collections import Counter
from pathlib import Path

from flask import Flask, request

from flask_asgi import FlaskToAsgi

app = Flask(__name__)
events = Counter()


@contextlib.asynccontextmanager
async def lifespan(app):
    events["started"] += 1
    yield
    Path(__file__).with_name("ended").touch()


@app.get("/readyz")
def readyz():
    return "ready"


@app.get("/json/async")
async def json_async():
    await asyncio.sleep(0)
    return {"kind": "async"}


@app.get("/json/sync")
def json_sync():
    return {"kind": "sync"}


@app.get("/stream/async")
async def stream_async():
    await asyncio.sleep(0)

    async def parts():
        for _ in range(3):
            yield "part "
            await asyncio.sleep(0)

    return app.response_class(parts())


@app.get("/stream/sync")
def stream_sync():
    return app.response_class("part " for _ in range(3))


@app.post("/upload/async")
async def upload_async():
    return count()


@app.post("/upload/sync")
def upload_sync():
    return count()


def count():
    total = 0
    while part := request.stream.read(65536):
        total += len(part)
    return {"bytes": total, "peak": peak_kib()}


def peak_kib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


@app.get("/hang")
async def hang():
    events["began"] += 1
    try:
        await asyncio.sleep(60)
    finally:
        events["left"] += 1


@app.get("/event/<name>")
async def event(name):
    return str(events[name])


asgi = FlaskToAsgi(app, lifespan=lifespan)
"""


every_asgi_server = pytest.mark.parametrize(
    "server",
    [
        server if server in USUAL else pytest.param(server, marks=pytest.mark.heavy)
        for server in ASGI
    ],
)
every_wsgi_server = pytest.mark.parametrize("server", WSGI)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an application on the engine."""
    folder = tmp_path_factory.mktemp("servers")
    (folder / "serving.py").write_text(APPLICATION, encoding="utf-8")
    return folder


@contextmanager
def served(service: Path, requirement: str, command: str) -> Iterator[int]:
    """Serves the application; yields the port."""
    port = free_port()
    uv = ("uv", "run", "--project", ROOT, "--no-sync", "--with", requirement, "--")
    env = {**os.environ, **libraries.locked(OLDEST), **libraries.sources(service)}
    with running(*uv, *command.format(port=port).split(), cwd=service, env=env, port=port):
        yield port


def ask(port: int, path: str, body: object = None) -> bytes:
    """The body of the response to a GET, or to a POST of `body`, which must be a 200."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        method = "GET" if body is None else "POST"
        connection.request(method, path, body, encode_chunked=True)  # type: ignore[arg-type] # an iterator too
        response = connection.getresponse()
        assert response.status == 200
        return response.read()


def first_line(port: int, head: str) -> bytes:
    """The status line of the response to a request with this head."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(head.encode())
        return connection.makefile("rb").readline()


def until_event(port: int, event: str) -> None:
    """Waits until the application has noted the event."""
    wait_until(lambda: ask(port, f"/event/{event}") == b"1")


def check_the_basics(port: int) -> None:
    """Checks the behaviour that a WSGI server and an ASGI server have in common."""
    for kind in ("async", "sync"):
        assert ask(port, f"/json/{kind}") == b'{"kind":"%s"}\n' % kind.encode()
        assert ask(port, f"/stream/{kind}") == b"part part part "
        assert json.loads(ask(port, f"/upload/{kind}", b"body"))["bytes"] == 4
        assert json.loads(ask(port, f"/upload/{kind}", iter([b"one", b"two"])))["bytes"] == 6


@every_asgi_server
def test_an_asgi_server_runs_the_application(server: str, service: Path) -> None:
    ended = service / "ended"
    ended.unlink(missing_ok=True)

    with served(service, *ASGI[server]) as port:
        assert ask(port, "/event/started") == b"1"
        check_the_basics(port)

        before = json.loads(ask(port, "/upload/async", b"body"))["peak"]
        for kind in ("async", "sync"):
            upload = json.loads(
                ask(port, f"/upload/{kind}", (bytes(2**20) for _ in range(UPLOAD_MIB)))
            )
            assert upload["bytes"] == UPLOAD_MIB * 2**20
            assert upload["peak"] - before < 40 * 1024

        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
            until_event(port, "began")
        until_event(port, "left")

        assert first_line(port, HANDSHAKE).split()[1] == b"403"

    assert ended.exists()


@every_wsgi_server
def test_a_wsgi_server_runs_the_same_application(server: str, service: Path) -> None:
    with served(service, *WSGI[server]) as port:
        check_the_basics(port)
