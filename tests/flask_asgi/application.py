"""The application that the tests of `flask_asgi` serve; its responses show how it is run.

`asgi` is bridged, `plain` is the recipe of Flask's own documentation. `python -m` serves `asgi`
with the library's server; `uvicorn tests.flask_asgi.application:asgi` with uvicorn's.
"""

import argparse
import asyncio
import contextvars
import functools
import gc
import json
import logging
import os
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from asgiref.wsgi import WsgiToAsgi
from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    after_this_request,
    copy_current_request_context,
    g,
    request,
    session,
)
from flask import stream_with_context as with_context
from flask.typing import ResponseReturnValue
from flask.views import MethodView
from flask_asgi import (
    Background,
    FlaskToAsgi,
    HttpProtocol,
    Readiness,
    Server,
    Supervisor,
    drain_on_signal,
    on_loop,
)
from greenlet import greenlet

PART = bytes(65536)

# A test's options, as JSON: arguments of `FlaskToAsgi`, and the options popped below.
OPTIONS: dict[str, Any] = json.loads(os.environ.get("ENGINE_OPTIONS", "{}"))
DELAY: float = OPTIONS.pop("delay", 0)  # seconds between a signal and the server's stop
ON_ITS_WAY: float = OPTIONS.pop("on_its_way", Server.on_its_way_seconds)
FAILS_TO_START: bool = OPTIONS.pop("fails_to_start", False)

logging.basicConfig(level="INFO", format="%(levelname)s %(name)s %(message)s")

bp = Blueprint("views", __name__)
events: Counter[str] = Counter()
gates: dict[str, threading.Event] = defaultdict(threading.Event)
owner: contextvars.ContextVar[str] = contextvars.ContextVar("owner", default="nobody")
logger = logging.getLogger("application")
readiness = Readiness()
background = Background()


# The objects of the process, and its events


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


@bp.get("/garbage")
async def garbage() -> dict[str, int]:
    """Return the objects that only the collector can free, by type, and free them."""
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    kinds = Counter(type(thing).__qualname__ for thing in gc.garbage)
    gc.set_debug(0)
    gc.garbage.clear()
    gc.collect()
    return dict(kinds)


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


@bp.get("/worker")
async def worker() -> str:
    return str(os.getpid())


@bp.get("/livez")
async def livez() -> str:
    return "alive"


@bp.after_app_request
@on_loop
def name_and_log(response: Response) -> Response:
    """Add the common headers; log a request that has a name under it."""
    if name := request.headers.get("X-Request-ID"):
        response.headers["X-Request-ID"] = name
        logger.info("answered %s with %d", name, response.status_code)
    return readiness.end_connection(response)


@bp.teardown_app_request
@on_loop
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
    await gate("async")
    return count()


@bp.post("/count-later/sync")
def count_later_sync() -> str:
    gates["sync"].wait(60)
    return count()


async def gate(name: str) -> None:
    while not gates[name].is_set():  # noqa: ASYNC110 - an event would belong to one loop
        await asyncio.sleep(0.01)


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


@bp.get("/abort/<int:status>/async")
async def abort_async(status: int) -> ResponseReturnValue:
    abort(status)


@bp.get("/abort/<int:status>/sync")
def abort_sync(status: int) -> ResponseReturnValue:
    abort(status)


@bp.get("/bug/async")
async def bug_async() -> str:
    raise LookupError


@bp.get("/bug/sync")
def bug_sync() -> str:
    raise LookupError


@bp.post("/echo/async")
async def echo_async() -> Response:
    return Response(with_context(echo()))


@bp.post("/echo/sync")
def echo_sync() -> Response:
    return Response(with_context(echo()))


def echo() -> Iterator[bytes]:
    while part := request.stream.read(65536):
        yield part


@bp.post("/executed")
async def executed() -> str:
    events["executed"] += 1
    return "executed"


# Responses


@bp.get("/parts/async")
async def parts_async() -> Response:
    async def parts(number: int) -> AsyncIterator[bytes]:
        for _ in range(number):
            events["async-parts"] += 1
            yield PART

    return Response(parts(int(request.args["number"])))  # type: ignore[arg-type] # Flask cannot take it, the bridge can


@bp.get("/parts/sync")
def parts_sync() -> Iterator[bytes]:
    def parts(number: int) -> Iterator[bytes]:
        for _ in range(number):
            events["sync-parts"] += 1
            yield PART

    return parts(int(request.args["number"]))


@bp.get("/parts/with-context/async")
async def parts_with_context_async() -> Response:
    return Response(with_context(parts_with_context()))


@bp.get("/parts/with-context/sync")
def parts_with_context_sync() -> Response:
    return Response(with_context(parts_with_context()))


def parts_with_context() -> Iterator[bytes]:
    for _ in range(int(request.args["number"])):
        events["with-context-parts"] += 1
        yield PART


class Ticks:
    """An async iterator that is not a generator."""

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
    return Response(Ticks())  # type: ignore[arg-type] # as above


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


@bp.get("/in-two/async")
async def in_two_async() -> Response:
    async def parts() -> AsyncIterator[str]:
        yield "data: first\n\n"
        await gate("in-two-async")
        yield "data: second\n\n"
        events["in-two-async-closed"] += 1

    return Response(parts(), content_type="text/event-stream")  # type: ignore[arg-type] # as above


@bp.get("/in-two/sync")
def in_two_sync() -> Response:
    return Response(with_context(in_two("sync")), content_type="text/event-stream")


@bp.get("/in-two/sync-in-async")
async def in_two_sync_in_async() -> Response:
    return Response(with_context(in_two("sync-in-async")), content_type="text/event-stream")


def in_two(kind: str) -> Iterator[str]:
    """Hold the second part back until a request opens the gate."""
    yield "data: first\n\n"
    gates[f"in-two-{kind}"].wait(60)
    yield "data: second\n\n"
    events[f"in-two-{kind}-closed"] += 1


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


@bp.get("/latin-1/async")
async def latin_1_async() -> Response:
    return Response("ok", headers={"X-Name": "Zo\xeb"})


@bp.get("/latin-1/sync")
def latin_1_sync() -> Response:
    return Response("ok", headers={"X-Name": "Zo\xeb"})


@bp.get("/broken")
def broken() -> Iterator[str]:
    yield "first"
    message = "after the first byte"
    raise RuntimeError(message)


# Waits and cancellation


@bp.route("/hang", methods=["GET", "POST"])
async def hang() -> str:
    @after_this_request
    def note(response: Response) -> Response:
        events["after-request"] += 1
        return response

    events["hang-began"] += 1
    try:
        await asyncio.Event().wait()
    finally:
        events["hang-left"] += 1
    return "never"


@bp.route("/endless", methods=["GET", "POST"])
async def endless() -> AsyncIterator[str]:
    try:
        while True:
            yield "more"
            await asyncio.sleep(0.01)
    finally:
        events["endless-closed"] += 1


@bp.get("/cancelled/<kind>")
async def cancelled(kind: str) -> str:
    task = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel()
    match kind:
        case "awaited":
            await task
        case "gathered":
            await asyncio.gather(task, asyncio.sleep(0))
        case _:
            raise asyncio.CancelledError
    return "never"


@bp.get("/cancelled/in-a-thread")
def cancelled_in_a_thread() -> str:
    raise asyncio.CancelledError


@bp.get("/until-draining/async")
async def until_draining_async() -> str:
    events["until-draining-async-began"] += 1
    await readiness.until_draining()
    await asyncio.sleep(0.2)  # longer than the server takes to notice the signal
    return "answered"


@bp.get("/until-draining/sync")
def until_draining_sync() -> str:
    events["until-draining-sync-began"] += 1
    asyncio.run(readiness.until_draining())
    time.sleep(0.2)  # longer than the server takes to notice the signal
    return "answered"


@bp.get("/until-draining/stream")
async def until_draining_stream() -> AsyncIterator[str]:
    yield "first"
    await readiness.until_draining()
    yield "last"


@bp.get("/background")
async def in_background() -> str:
    async def work() -> None:
        await readiness.until_draining()
        await asyncio.sleep(0.2)  # longer than the server takes to notice the signal
        logger.info("the background work is done")

    background.start(work())
    return "started"


@bp.get("/work")
async def work() -> str:
    """Keep the event loop busy, and then wait, as many concurrent calls do."""
    end = time.monotonic() + 0.02
    while time.monotonic() < end:
        pass
    await asyncio.sleep(0.05)
    return ""


# Concurrency and isolation


class Meeting:
    """A barrier for requests, on the loop or in threads, with a timeout."""

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
    found = owner.get()
    owner.set("an earlier request")
    return found


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
    """Fail if data of another request is left; then store the name everywhere."""
    assert owner.get() == "nobody"
    assert "owner" not in g
    assert request.cookies.get("session") is None or session["owner"] == request.args["session"]
    owner.set(name)
    g.owner = name
    session["owner"] = name


def claims(name: str) -> str:
    body = request.get_data(as_text=True) or name
    return f"{owner.get()} {g.owner} {session['owner']} {request.view_args['name']} {body}"  # type: ignore[index] # set


# Errors that would end the server


def leave() -> str:
    if request.args.get("how") == "ctrl-c":
        raise KeyboardInterrupt
    sys.exit("this is the end")


async def leave_later() -> str:
    await asyncio.sleep(0)
    return leave()


def hides_the_coroutine(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def wrapper(**values: Any) -> Any:
        return app.ensure_sync(view)(**values)

    return wrapper


class Leave(MethodView):
    async def get(self) -> str:
        return await leave_later()


bp.add_url_rule("/leave/method-view", view_func=Leave.as_view("leave_method_view"))
bp.add_url_rule("/leave/async", "leave_async", leave_later)
bp.add_url_rule("/leave/sync", "leave_sync", leave)
bp.add_url_rule("/leave/decorated", "leave_decorated", hides_the_coroutine(leave_later))


@bp.get("/leave/gathered")
async def leave_gathered() -> str:
    return "".join(await asyncio.gather(leave_later(), asyncio.sleep(0.01, "")))


@bp.get("/leave/task-group")
async def leave_task_group() -> str:
    async with asyncio.TaskGroup() as group:
        group.create_task(leave_later())
        group.create_task(asyncio.sleep(0.01))
    return "never"


@bp.get("/leave/background")
async def leave_background() -> str:
    background.start(leave_later())
    return "started"


@bp.get("/leave/unattended-task")
async def leave_unattended() -> str:
    task = asyncio.create_task(leave_later())
    await asyncio.wait([task])
    return "survived"


@bp.get("/leave/stream-async")
async def leave_stream_async() -> AsyncIterator[str]:
    yield "part"
    yield await leave_later()


@bp.get("/leave/stream-sync")
def leave_stream_sync() -> Iterator[str]:
    yield "part"
    yield leave()


hooked = Blueprint("hooked", __name__)


@hooked.before_request
async def leave_in_a_hook() -> None:
    if request.path == "/leave/hook":
        await leave_later()


@hooked.teardown_request
async def leave_in_a_teardown(_error: BaseException | None) -> None:
    if request.path == "/leave/teardown":
        await leave_later()


@hooked.get("/leave/hook")
@hooked.get("/leave/teardown")
async def leave_elsewhere() -> str:
    return "ok"


# The application and its servers


@asynccontextmanager
async def lifespan(_app: Flask) -> AsyncIterator[None]:
    if FAILS_TO_START:
        message = "the certificate has expired"
        raise OSError(message)
    background.open()
    with drain_on_signal(readiness, delay=DELAY):
        readiness.ready()
        yield
        readiness.draining()
    await background.close(grace=10)


def create_app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "not a secret"  # noqa: S105 - it is not
    app.register_blueprint(bp)
    app.register_blueprint(hooked)
    return app


app = create_app()
asgi = FlaskToAsgi(app, lifespan=lifespan, always_answer=("/livez",), **OPTIONS)
plain = WsgiToAsgi(create_app())  # type: ignore[no-untyped-call] # asgiref's


def main() -> None:
    """Serve `asgi` with the library's server, set up as a service would."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--grace", type=int, default=10)
    options = parser.parse_args()
    Server.on_its_way_seconds = ON_ITS_WAY
    config = uvicorn.Config(
        "tests.flask_asgi.application:asgi",
        host=options.host,
        port=options.port,
        workers=options.workers,
        lifespan="on",  # a start-up that fails must stop the server
        ws="none",
        http=HttpProtocol,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=options.grace,
        timeout_worker_healthcheck=60,
    )
    if options.workers == 1:
        Server(config).run()
    else:
        Supervisor(config, sockets=[config.bind_socket()]).run()


if __name__ == "__main__":
    main()
