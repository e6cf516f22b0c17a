"""The service in FastAPI."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from anyio.to_thread import current_default_thread_limiter
from fastapi import Depends, FastAPI

from . import upstream_calls, work


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Opens the client, and gives synchronous views the same number of threads as every peer."""
    current_default_thread_limiter().total_tokens = work.THREADS
    async with upstream_calls.opened():
        yield


app = FastAPI(lifespan=lifespan)


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


@app.get("/hold/{seconds}")
async def hold(seconds: float) -> dict[str, int]:
    """Keeps the request in flight."""
    return await work.hold(seconds)


def after() -> Iterator[None]:
    """Does nothing after the view, in a thread."""
    yield


@app.get("/hook", dependencies=[Depends(work.before)])
async def hook() -> dict[str, bool]:
    """Does nothing, with a synchronous dependency."""
    return {"ok": True}


@app.get("/hooks", dependencies=[Depends(work.before), Depends(after)])
async def hooks() -> dict[str, bool]:
    """Does nothing, with two synchronous dependencies; the second also runs after the view."""
    return {"ok": True}
