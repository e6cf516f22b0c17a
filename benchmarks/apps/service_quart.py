"""A service in Quart with the views of `extended.py`, in Quart's usual style."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from quart import Quart, ResponseReturnValue, abort, request

from . import service_prices

app = Quart(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1024 * 1024  # as in the generated service
marked: list[str] = []


@app.while_serving
async def lifespan() -> AsyncGenerator[None, None]:
    """Opens the client."""
    async with service_prices.opened():
        yield


@app.get("/livez")
async def livez() -> dict[str, str]:
    """Answers while the loop runs."""
    return {"status": "alive"}


@app.get("/prices")
async def prices() -> ResponseReturnValue:
    """Answers with the prices that arrived; 502 or 504 without any price."""
    symbols = request.args.getlist("symbol")
    if not service_prices.valid(symbols):
        abort(400)
    status, answer = await service_prices.answer(symbols)
    return answer, status


@app.get("/nothing")
async def nothing() -> dict[str, bool]:
    """Does nothing, on the event loop."""
    return {"ok": True}


@app.get("/sync/nothing")
def sync_nothing() -> dict[str, bool]:
    """Does nothing, in a thread."""
    return {"ok": True}


@app.post("/body")
async def body() -> dict[str, int]:
    """Reads the body, on the event loop."""
    return {"bytes": len(await request.get_data())}


@app.post("/sync/body")
async def sync_body() -> dict[str, int]:
    """Reads the body on the loop: in Quart only an async view can read it."""
    return {"bytes": len(await request.get_data())}


@app.post("/json")
async def json_body() -> dict[str, str]:
    """Reads the body as JSON."""
    return {"kind": type(await request.get_json()).__name__}


@app.get("/raises")
async def raises() -> str:
    """Fails like a view with a bug."""
    message = "a bug"
    raise RuntimeError(message)


@app.get("/stream")
async def stream() -> AsyncIterator[bytes]:
    """Streams ten parts of a kilobyte."""

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield bytes(1024)

    return parts()


@app.get("/wait/<float:seconds>")
async def wait(seconds: float) -> dict[str, bool]:
    """Keeps the request in flight."""
    await asyncio.sleep(seconds)
    return {"ok": True}


@app.get("/mark")
async def mark() -> dict[str, int]:
    """Counts its requests."""
    marked.append("")
    return {"marks": len(marked)}
