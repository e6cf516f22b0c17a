"""A price service in FastAPI, as its users would write it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Query
from fastapi.responses import JSONResponse

from . import service_prices


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Opens the client."""
    async with service_prices.opened():
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/livez")
async def livez() -> dict[str, str]:
    """Answers as long as the loop turns."""
    return {"status": "alive"}


@app.get("/prices")
async def prices(symbol: Annotated[list[str], Query()]) -> JSONResponse:
    """Answers with what arrived; 502 or 504 when nothing did."""
    if not service_prices.valid(symbol):
        return JSONResponse({"detail": "symbol"}, 400)
    status, body = await service_prices.answer(symbol)
    return JSONResponse(body, status)
