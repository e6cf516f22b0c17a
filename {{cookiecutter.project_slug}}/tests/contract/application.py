"""An application that shows from outside how `flask_asgi` runs it; `python -m` serves it alone."""

import asyncio
import sys
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import uvicorn
from flask import Flask, Response, request, stream_with_context
from flask_asgi import FlaskToAsgi, HttpProtocol, Lifespan, Readiness, drain_on_signal, run

CLIENTS = 50  # inside a view at once
PATIENCE = 20  # seconds; only a failing test waits that long

app = Flask(__name__)
lifespan = Lifespan()
readiness = Readiness()
happened: defaultdict[str, threading.Event] = defaultdict(threading.Event)
left_behind: ContextVar[str] = ContextVar("left_behind", default="clean")
barrier = threading.Barrier(CLIENTS, timeout=PATIENCE)
arrived: list[None] = []


@lifespan.add
@asynccontextmanager
async def draining(_app: Flask) -> AsyncIterator[None]:
    with drain_on_signal(readiness, delay=0):
        yield


async def until(event: str) -> None:
    while not happened[event].is_set():  # noqa: ASYNC110 - another thread sets it
        await asyncio.sleep(0.01)


@app.get("/meet/async")
async def meet_async() -> str:
    arrived.append(None)
    if len(arrived) == CLIENTS:
        happened["all are inside"].set()
    await until("all are inside")
    return "met"


@app.get("/meet/sync")
def meet_sync() -> str:
    barrier.wait()
    return "met"


@app.get("/ping/async")
async def ping_async() -> str:
    await asyncio.sleep(0)
    return ping_sync()


@app.get("/ping/sync")
def ping_sync() -> str:
    found = left_behind.get()
    left_behind.set("by an earlier request")
    return found


@app.get("/hang")
async def hang() -> str:
    happened["hang begins"].set()
    try:
        await asyncio.Event().wait()
    finally:
        happened["hang ends"].set()
    return "never"


@app.get("/stream/async")
async def stream_async() -> AsyncIterator[str]:
    yield "first"
    await until("first has come")
    yield "second"


@app.get("/stream/sync")
def stream_sync() -> Response:
    def parts() -> Iterator[str]:
        yield "first"
        assert happened["first has come"].wait(PATIENCE)
        yield f"second for {request.path}"

    return Response(stream_with_context(parts()))


@app.get("/endless")
async def endless() -> AsyncIterator[bytes]:
    try:
        while True:
            yield bytes(65_536)
            await asyncio.sleep(0)
    finally:
        happened["endless ends"].set()


@app.post("/upload/async")
async def upload_async() -> bytes:
    return upload_sync()


@app.post("/upload/sync")
def upload_sync() -> bytes:
    first = request.stream.read(5)
    happened[f"read {first.decode()}"].set()
    return first + request.stream.read()


@app.get("/until-draining")
async def until_draining() -> str:
    sys.stderr.write("inside\n")
    await readiness.until_draining()
    await asyncio.sleep(0.2)  # longer than the server takes to look for the signal
    return "answered"


asgi = FlaskToAsgi(app, lifespan=lifespan, threads=CLIENTS)

if __name__ == "__main__":
    port = int(sys.argv[sys.argv.index("--port") + 1])
    run(uvicorn.Config(asgi, port=port, http=HttpProtocol, timeout_graceful_shutdown=PATIENCE))
