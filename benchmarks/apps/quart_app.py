"""The service in Quart."""

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor

from quart import Blueprint, Quart

from . import upstream_calls, work

app = Quart(__name__)


@app.while_serving
async def lifespan() -> AsyncGenerator[None, None]:
    """Opens the client, and gives synchronous views the same number of threads as every peer."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(work.THREADS))
    async with upstream_calls.opened():
        yield


@app.get("/noop")
async def noop() -> dict[str, bool]:
    """Does nothing, on the event loop."""
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


app.register_blueprint(one)
app.register_blueprint(two)
