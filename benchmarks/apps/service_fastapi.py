"""A service in FastAPI with the views of `extended.py`, in FastAPI's usual style."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Body, FastAPI, Header, HTTPException, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse

from . import service_prices

MAX_CONTENT_LENGTH = 1024 * 1024  # the limit of the generated service; FastAPI has no limit


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Opens the client."""
    async with service_prices.opened():
        yield


app = FastAPI(lifespan=lifespan)
marked: list[str] = []


@app.get("/livez")
async def livez() -> dict[str, str]:
    """Answers while the loop runs."""
    return {"status": "alive"}


@app.get("/prices")
async def prices(symbol: Annotated[list[str], Query()]) -> JSONResponse:
    """Answers with the prices that arrived; 502 or 504 without any price."""
    if not service_prices.valid(symbol):
        return JSONResponse({"detail": "symbol"}, 400)
    status, answer = await service_prices.answer(symbol)
    return JSONResponse(answer, status)


@app.get("/nothing")
async def nothing() -> dict[str, bool]:
    """Does nothing, on the event loop."""
    return {"ok": True}


@app.get("/sync/nothing")
def sync_nothing() -> dict[str, bool]:
    """Does nothing, in a thread."""
    return {"ok": True}


@app.post("/body")
async def body(
    request: Request, content_length: Annotated[int | None, Header()] = None
) -> dict[str, int]:
    """Reads the body, on the event loop."""
    if content_length is not None and content_length > MAX_CONTENT_LENGTH:
        raise HTTPException(413)
    return {"bytes": len(await request.body())}


@app.post("/sync/body")
def sync_body(content: Annotated[bytes, Body()]) -> dict[str, int]:
    """Gets the body, in a thread."""
    return {"bytes": len(content)}


@app.post("/json")
async def json_body(content: Annotated[list[Any] | dict[str, Any], Body()]) -> dict[str, str]:
    """Gets the body as JSON."""
    return {"kind": type(content).__name__}


@app.get("/raises")
async def raises() -> str:
    """Fails like a view with a bug."""
    message = "a bug"
    raise RuntimeError(message)


@app.get("/stream")
async def stream() -> StreamingResponse:
    """Streams ten parts of a kilobyte."""

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield bytes(1024)

    return StreamingResponse(parts())


@app.get("/wait/{seconds}")
async def wait(seconds: float) -> dict[str, bool]:
    """Keeps the request in flight."""
    await asyncio.sleep(seconds)
    return {"ok": True}


@app.get("/mark")
async def mark() -> dict[str, int]:
    """Counts its requests."""
    marked.append("")
    return {"marks": len(marked)}
