"""A plain Flask application, the same for all ways of serving Flask."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any

from flask import Blueprint, Flask, current_app

from . import upstream_calls, work

app = Flask(__name__)


@app.get("/noop")
async def noop() -> dict[str, bool]:
    """Does nothing, on the event loop if the server has one."""
    return {"ok": True}


@app.get("/sync")
def sync() -> dict[str, bool]:
    """Does nothing, in a thread."""
    return {"ok": True}


@app.get("/wait")
async def wait() -> dict[str, bool]:
    """Waits three times at once."""
    return await work.wait()


@app.get("/calls")
async def calls() -> dict[str, list[int]]:
    """Calls an upstream three times at once."""
    return await upstream_calls.three_calls()


@app.get("/hold/<float:seconds>")
async def hold(seconds: float) -> dict[str, int]:
    """Keeps the request in flight."""
    return await work.hold(seconds)


one = Blueprint("one", __name__)
two = Blueprint("two", __name__)
one.before_request(work.before)
two.before_request(work.before)
two.after_request(work.after)


@one.get("/hook")
@two.get("/hooks")
async def hooked() -> dict[str, bool]:
    """Does nothing, with synchronous hooks around it."""
    return {"ok": True}


def decorated(view: Callable[[], Coroutine[Any, Any, Any]]) -> Callable[[], Any]:
    """Wraps an async view in a sync function, like most extensions."""

    @functools.wraps(view)
    def call() -> object:
        return current_app.ensure_sync(view)()

    return call


@app.get("/hidden")
@decorated
async def hidden() -> dict[str, bool]:
    """Does nothing, on the event loop, while a thread waits for it."""
    return {"ok": True}


app.register_blueprint(one)
app.register_blueprint(two)
