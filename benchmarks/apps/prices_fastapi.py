"""Three prices in FastAPI, with a shared client of stock httpx."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException

from .prices import Body, NoPriceError, naive, opened, with_failures
from .upstream_calls import CLIENT


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Opens the client."""
    async with opened():
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/prices")
async def prices() -> Body:
    """Answers with all prices or 500 (naive), or with the prices that arrived or 502."""
    if CLIENT == "naive":
        return await naive()
    try:
        return await with_failures()
    except NoPriceError as error:
        raise HTTPException(502) from error
