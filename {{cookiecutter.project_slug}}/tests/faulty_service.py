"""The service, with views in which everything goes wrong that can."""

import asyncio
import functools
import gc
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from flask import Response, abort, request, stream_with_context
from flask.typing import ResponseReturnValue
from flask.views import MethodView

from {{ cookiecutter.package_name }}.asgi import asgi
from {{ cookiecutter.package_name }}.serve import main

app = asgi.app
app.config["MAX_CONTENT_LENGTH"] = 200_000


# What is left behind


@app.get("/garbage")
async def garbage() -> dict[str, object]:
    """Say what only the collector can free, and free it."""
    gc.disable()  # the lifespan has tuned it meanwhile
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    kinds = Counter(type(thing).__qualname__ for thing in gc.garbage)
    gc.set_debug(0)
    gc.garbage.clear()
    gc.collect()
    return {"objects": kinds.total(), "kinds": dict(kinds.most_common(12))}


@app.get("/in-flight")
async def in_flight() -> str:
    return str(asgi.admission.in_flight)


# Requests of each kind


@app.post("/async/read")
async def read_async() -> str:
    return str(len(request.get_data()))


@app.post("/sync/read")
def read_sync() -> str:
    return str(len(request.get_data()))


@app.get("/async/nothing")
async def nothing_async() -> str:
    return ""


@app.get("/sync/nothing")
def nothing_sync() -> str:
    return ""


@app.get("/async/status/<int:status>")
async def status_async(status: int) -> ResponseReturnValue:
    abort(status)


@app.get("/sync/status/<int:status>")
def status_sync(status: int) -> ResponseReturnValue:
    abort(status)


@app.get("/async/bug")
async def bug_async() -> str:
    raise LookupError


@app.get("/sync/bug")
def bug_sync() -> str:
    raise LookupError


@app.get("/async/stream")
async def stream_async() -> AsyncIterator[str]:
    for _ in range(3):
        await asyncio.sleep(0)
        yield "part"


@app.get("/sync/stream")
def stream_sync() -> Iterator[str]:
    yield from ["part"] * 3


@app.get("/async/stream-with-context")
async def stream_with_context_async() -> Response:
    return Response(stream_with_context(iter(["part"] * 3)))


@app.get("/sync/stream-with-context")
def stream_with_context_sync() -> Response:
    return Response(stream_with_context(iter(["part"] * 3)))


@app.get("/async/endless")
async def endless() -> AsyncIterator[str]:
    while True:
        await asyncio.sleep(0.01)
        yield "part"


@app.get("/async/hang")
async def hang() -> str:
    await asyncio.Event().wait()
    return "never"


@app.get("/async/work")
async def work() -> str:
    """Keep the event loop busy, and then wait, as many calls at once do."""
    end = time.monotonic() + 0.02
    while time.monotonic() < end:
        pass
    await asyncio.sleep(0.05)
    return ""


# What would end the server


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


app.add_url_rule("/leave/method-view", view_func=Leave.as_view("leave_method_view"))
app.add_url_rule("/leave/async", "leave_async", leave_later)
app.add_url_rule("/leave/sync", "leave_sync", leave)
app.add_url_rule("/leave/decorated", "leave_decorated", hides_the_coroutine(leave_later))


@app.get("/leave/gathered")
async def leave_gathered() -> str:
    return "".join(await asyncio.gather(leave_later(), asyncio.sleep(0.01, "")))


@app.get("/leave/task-group")
async def leave_task_group() -> str:
    async with asyncio.TaskGroup() as group:
        group.create_task(leave_later())
        group.create_task(asyncio.sleep(0.01))
    return "never"


@app.get("/leave/background")
async def leave_background() -> str:
    app.extensions["background"].start(leave_later())
    return "started"


@app.get("/leave/unattended-task")
async def leave_unattended() -> str:
    task = asyncio.create_task(leave_later())
    await asyncio.wait([task])
    return "survived"


@app.get("/leave/stream-async")
async def leave_stream_async() -> AsyncIterator[str]:
    yield "part"
    yield await leave_later()


@app.get("/leave/stream-sync")
def leave_stream_sync() -> Iterator[str]:
    yield "part"
    yield leave()


@app.before_request
async def leave_in_a_hook() -> None:
    if request.path == "/leave/hook":
        await leave_later()


@app.teardown_request
async def leave_in_a_teardown(_error: BaseException | None) -> None:
    if request.path == "/leave/teardown":
        await leave_later()


@app.get("/leave/hook")
@app.get("/leave/teardown")
async def leave_elsewhere() -> str:
    return "ok"


# Cancellations that are none


@app.get("/cancelled/<kind>")
async def cancelled(kind: str) -> str:
    task = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel()
    if kind == "awaited":
        await task
    elif kind == "gathered":
        await asyncio.gather(task, asyncio.sleep(0))
    elif kind == "raised":
        raise asyncio.CancelledError
    return "never"


@app.get("/cancelled/in-a-thread")
def cancelled_in_a_thread() -> str:
    raise asyncio.CancelledError


# Bodies and streams


@app.post("/executed")
async def executed() -> str:
    sys.stderr.write("a body was executed\n")
    return "executed"


@app.get("/until-draining")
async def until_draining() -> AsyncIterator[str]:
    yield "data: first\n\n"
    await app.extensions["readiness"].until_draining()
    yield "data: last\n\n"


if __name__ == "__main__":
    main()
