"""An application that reports what reached it, and what its process holds."""

import asyncio
import contextvars
import gc
import threading
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from flask import (
    Blueprint,
    Flask,
    Response,
    after_this_request,
    copy_current_request_context,
    g,
    request,
    session,
)
from flask import stream_with_context as with_context
from flask.typing import ResponseReturnValue
from flask_asgi._bridge import FlaskToAsgi
from greenlet import greenlet

PART = bytes(65536)
THREADS = 20

bp = Blueprint("http", __name__)
events: Counter[str] = Counter()
gates: dict[str, threading.Event] = defaultdict(threading.Event)
owner: contextvars.ContextVar[str] = contextvars.ContextVar("owner", default="nobody")


# What the process holds and what has happened in it


@bp.get("/held")
async def held() -> dict[str, int]:
    gc.collect()
    return {
        "tasks": len(asyncio.all_tasks()),
        "greenlets": sum(isinstance(thing, greenlet) for thing in gc.get_objects()),
        "files": open_files(),
        "threads": threading.active_count(),
        "resident": kibibytes("VmRSS:"),
        "peak": kibibytes("VmHWM:"),
    }


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def kibibytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


@bp.get("/in-flight")
async def in_flight() -> str:
    return str(asgi.admission.in_flight)


@bp.get("/event/<name>")
async def event(name: str) -> str:
    return str(events[name])


@bp.get("/open/<name>")
async def open_gate(name: str) -> str:
    gates[name].set()
    return "open"


@bp.teardown_request
def note_teardown(_error: BaseException | None) -> None:
    if note := request.args.get("note"):
        events[f"{note}-torn-down"] += 1


# Requests


@bp.post("/count/async")
async def count_async() -> str:
    return count()


@bp.post("/count/sync")
def count_sync() -> str:
    return count()


def count() -> str:
    set_limit()
    total = 0
    while part := request.stream.read(65536):
        total += len(part)
    return str(total)


@bp.post("/count-later/async")
async def count_later_async() -> str:
    while not gates["async"].is_set():  # noqa: ASYNC110 - an event would belong to one loop
        await asyncio.sleep(0.01)
    return count()


@bp.post("/count-later/sync")
def count_later_sync() -> str:
    gates["sync"].wait(10)
    return count()


@bp.post("/length/async")
async def length_async() -> str:
    return length()


@bp.post("/length/sync")
def length_sync() -> str:
    return length()


def length() -> str:
    set_limit()
    return str(len(request.get_data()))


def set_limit() -> None:
    if "limit" in request.args:
        request.max_content_length = int(request.args["limit"])


@bp.post("/read-in/<reader>")
async def read_in(reader: str) -> str:
    async def in_task() -> str:
        return length()

    try:
        match reader:
            case "task":
                return await asyncio.create_task(in_task())
            case "thread":
                return await asyncio.to_thread(length)
            case _:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(None, copy_current_request_context(length))
    except RuntimeError as error:
        return str(error)


@bp.post("/refuse/async")
async def refuse_async() -> ResponseReturnValue:
    return "no", 403


@bp.post("/refuse/sync")
def refuse_sync() -> ResponseReturnValue:
    return "no", 403


@bp.post("/refuse-after-a-wait/async")
async def refuse_after_a_wait() -> ResponseReturnValue:
    await asyncio.sleep(0.05)
    return "no", 403


@bp.route("/seen/async", defaults={"rest": ""}, methods=["GET", "POST"])
@bp.route("/seen/async/<path:rest>")
async def seen_async(rest: str) -> dict[str, object]:
    return seen(rest)


@bp.route("/seen/sync", defaults={"rest": ""}, methods=["GET", "POST"])
@bp.route("/seen/sync/<path:rest>")
def seen_sync(rest: str) -> dict[str, object]:
    return seen(rest)


def seen(rest: str) -> dict[str, object]:
    return {
        "rest": rest,
        "path": request.environ["PATH_INFO"].encode("latin-1").hex(),
        "root_path": request.root_path,
        "query": request.query_string.hex(),
        "cookies": request.cookies,
        "headers": dict(request.headers),
    }


@bp.get("/status/<int:status>/async")
async def status_async(status: int) -> ResponseReturnValue:
    return "body" if status == 200 else "", status


@bp.get("/status/<int:status>/sync")
def status_sync(status: int) -> ResponseReturnValue:
    return "body" if status == 200 else "", status


@bp.post("/echo/async")
async def echo_async() -> Response:
    return Response(with_context(echo()))


@bp.post("/echo/sync")
def echo_sync() -> Response:
    return Response(with_context(echo()))


def echo() -> Iterator[bytes]:
    while part := request.stream.read(65536):
        yield part


# Responses


@bp.get("/parts/<int:number>/async")
async def parts_async(number: int) -> AsyncIterator[bytes]:
    for _ in range(number):
        events["async-parts"] += 1
        yield PART


@bp.get("/parts/<int:number>/sync")
def parts_sync(number: int) -> Iterator[bytes]:
    for _ in range(number):
        events["sync-parts"] += 1
        yield PART


@bp.get("/parts/<int:number>/with-context")
async def parts_with_context(number: int) -> Response:
    def parts() -> Iterator[bytes]:
        for _ in range(number):
            events[f"{request.path.rsplit('/', 1)[-1]}-parts"] += 1
            yield PART

    return Response(with_context(parts()))


class Ticks:
    """An async iterator that is no generator."""

    def __init__(self) -> None:
        self.left = 3

    def __aiter__(self) -> "Ticks":
        return self

    async def __anext__(self) -> bytes:
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        await asyncio.sleep(0)
        return b"tick "


@bp.get("/ticks")
async def ticks() -> Response:
    return Response(Ticks())  # type: ignore[arg-type] # what Flask cannot take and the bridge can


async def names() -> AsyncIterator[str]:
    try:
        while True:
            await asyncio.sleep(0.001)
            yield request.args["name"]
    finally:
        events[f"{request.args['name']}-left"] += 1


@bp.get("/names/async")
async def names_async() -> Response:
    return Response(with_context(names()))  # type: ignore[call-overload] # as above


@bp.get("/names/sync")
def names_sync() -> ResponseReturnValue:
    return with_context(names())  # type: ignore[call-overload,no-any-return] # as above


@bp.get("/server-sent-events")
async def server_sent_events() -> Response:
    async def messages() -> AsyncIterator[str]:
        yield "data: first\n\n"
        while not gates["event"].is_set():  # noqa: ASYNC110 - an event would belong to one loop
            await asyncio.sleep(0.01)
        yield "data: second\n\n"

    return Response(messages(), content_type="text/event-stream")  # type: ignore[arg-type] # as above


@bp.get("/closed-once/async")
async def closed_once_async() -> Response:
    return closed_once("async")


@bp.get("/closed-once/sync")
def closed_once_sync() -> Response:
    return closed_once("sync")


def closed_once(kind: str) -> Response:
    def parts() -> Iterator[bytes]:
        try:
            while True:
                yield PART
                time.sleep(0.001)
        finally:
            events[f"{kind}-generator-closed"] += 1

    response = Response(parts())
    response.call_on_close(lambda: events.update([f"{kind}-response-closed"]))
    return response


@bp.get("/latin-1")
async def latin_1() -> Response:
    return Response("ok", headers={"X-Name": "Zo\xeb"})


# Cancellation


@bp.route("/hang", methods=["GET", "POST"])
async def hang() -> str:
    @after_this_request
    def note(response: Response) -> Response:
        events["after-request"] += 1
        return response

    events["began"] += 1
    try:
        await asyncio.sleep(60)
    finally:
        events["left"] += 1
    return "never"


@bp.post("/endless/async")
async def endless_async() -> AsyncIterator[str]:
    try:
        while True:
            yield "more"
            await asyncio.sleep(0.01)
    finally:
        events["endless-closed"] += 1


# Isolation


@bp.route("/mine/async/<name>", methods=["GET", "POST"])
async def mine_async(name: str) -> Response:
    claim(name)
    await asyncio.sleep(int(name) % 7 / 1000)
    return Response(claims(name))


@bp.route("/mine/sync/<name>", methods=["GET", "POST"])
def mine_sync(name: str) -> Response:
    claim(name)
    time.sleep(int(name) % 3 / 1000)
    return Response(claims(name))


@bp.route("/mine/async-stream/<name>", methods=["GET", "POST"])
async def mine_async_stream(name: str) -> Response:
    claim(name)
    claimed = claims(name).split(" ")

    async def parts() -> AsyncIterator[str]:
        for part in claimed[1:]:
            await asyncio.sleep(int(name) % 5 / 1000)
            yield f"{part} "
        yield owner.get()

    return Response(parts())  # type: ignore[arg-type] # as above


@bp.route("/mine/sync-stream/<name>", methods=["GET", "POST"])
def mine_sync_stream(name: str) -> Response:
    claim(name)

    def parts() -> Iterator[str]:
        yield ""
        yield claims(name)

    return Response(with_context(parts()))


def claim(name: str) -> None:
    """Fail if anything of another request is left; then put the name everywhere."""
    assert owner.get() == "nobody"
    assert "owner" not in g
    assert request.cookies.get("session") is None or session["owner"] == request.args["session"]
    owner.set(name)
    g.owner = name
    session["owner"] = name


def claims(name: str) -> str:
    body = request.get_data(as_text=True) or name
    return f"{owner.get()} {g.owner} {session['owner']} {request.view_args['name']} {body}"  # type: ignore[index] # set


app = Flask(__name__)
app.secret_key = "not a secret"  # noqa: S105 - it is not
app.register_blueprint(bp)
asgi = FlaskToAsgi(app, threads=THREADS)
