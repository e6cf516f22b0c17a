"""An application that shows from outside how it is run: `asgi` is bridged, `plain` is not."""

import asyncio
import contextvars
import threading
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator

from asgiref.wsgi import WsgiToAsgi
from flask import Blueprint, Flask, Response, request, stream_with_context
from flask_asgi._bridge import FlaskToAsgi

CLIENTS = 100

bp = Blueprint("bridge", __name__)
events: Counter[str] = Counter()
acknowledged: dict[str, threading.Event] = defaultdict(threading.Event)
left_behind: contextvars.ContextVar[str] = contextvars.ContextVar("left_behind", default="clean")


class Meeting:
    """A barrier for requests, whatever runs them, that gives up after a while."""

    def __init__(self) -> None:
        self.arrived = 0
        self.deadline = 0.0
        self.lock = threading.Lock()

    def arrive(self) -> None:
        with self.lock:
            self.arrived += 1
            self.deadline = self.deadline or time.monotonic() + float(request.args["patience"])

    def is_complete(self) -> bool:
        return self.arrived >= int(request.args["clients"])

    def is_over(self) -> bool:
        return self.is_complete() or time.monotonic() > self.deadline

    def outcome(self) -> tuple[str, int]:
        return ("met", 200) if self.is_complete() else ("never met", 504)


meetings: dict[str, Meeting] = defaultdict(Meeting)


@bp.get("/meet/async")
async def meet_async() -> tuple[str, int]:
    meeting = meetings["async"]
    meeting.arrive()
    while not meeting.is_over():  # noqa: ASYNC110 - an event would belong to one loop
        await asyncio.sleep(0.01)
    return meeting.outcome()


@bp.get("/meet/sync")
def meet_sync() -> tuple[str, int]:
    meeting = meetings["sync"]
    meeting.arrive()
    while not meeting.is_over():
        time.sleep(0.01)
    return meeting.outcome()


@bp.get("/ping/async")
async def ping_async() -> str:
    return ping_sync()


@bp.get("/ping/sync")
def ping_sync() -> str:
    found = left_behind.get()
    left_behind.set("by an earlier request")
    return found


@bp.get("/hang")
async def hang() -> str:
    events["hang-began"] += 1
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        events["hang-cancelled"] += 1
        raise
    return "never"


@bp.get("/stream/async")
async def stream_async() -> AsyncIterator[str]:
    yield "first"
    while not acknowledged["async"].is_set():  # noqa: ASYNC110 - as for the sync streams
        await asyncio.sleep(0.01)
    yield "second"
    events["async-stream-closed"] += 1


@bp.get("/stream/sync")
def stream_sync() -> Response:
    return Response(stream_with_context(parts("sync")))


@bp.get("/stream/sync-in-async")
async def stream_sync_in_async() -> Response:
    return Response(stream_with_context(parts("sync-in-async")))


def parts(kind: str) -> Iterator[str]:
    yield "first"
    acknowledged[kind].wait(timeout=10)
    yield f"second for {request.path}"
    events[f"{kind}-stream-closed"] += 1


@bp.get("/acknowledge/<kind>")
async def acknowledge(kind: str) -> str:
    acknowledged[kind].set()
    return "ok"


@bp.get("/endless/async")
async def endless_async() -> AsyncIterator[str]:
    try:
        while True:
            yield "more"
            await asyncio.sleep(0.01)
    finally:
        events["endless-async-stream-closed"] += 1


@bp.get("/endless/sync")
def endless_sync() -> Iterator[str]:
    try:
        while True:
            yield "more"
            time.sleep(0.01)
    finally:
        events["endless-sync-stream-closed"] += 1


@bp.get("/broken")
def broken() -> Iterator[str]:
    yield "first"
    message = "after the first byte"
    raise RuntimeError(message)


@bp.post("/upload/async")
async def upload_async() -> bytes:
    return read_body("async")


@bp.post("/upload/sync")
def upload_sync() -> bytes:
    return read_body("sync")


def read_body(kind: str) -> bytes:
    first = request.stream.read(5)
    events[f"{kind}-upload-read-{first.decode()}"] += 1
    return first + request.stream.read()


@bp.get("/event/<name>")
async def event(name: str) -> str:
    return str(events[name])


@bp.teardown_request
def note_teardown(error: BaseException | None) -> None:
    if isinstance(error, asyncio.CancelledError):
        events["teardown-after-cancellation"] += 1


def create_app() -> Flask:
    app = Flask(__name__)
    app.register_blueprint(bp)
    return app


asgi = FlaskToAsgi(create_app(), threads=CLIENTS)
plain = WsgiToAsgi(create_app())  # type: ignore[no-untyped-call] # asgiref's
