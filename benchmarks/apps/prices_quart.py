"""Three prices in Quart, with a shared client of stock httpx."""

from collections.abc import AsyncGenerator

from quart import Quart

from .prices import Body, naive, opened

app = Quart(__name__)


@app.while_serving
async def lifespan() -> AsyncGenerator[None, None]:
    """Opens the client."""
    async with opened():
        yield


@app.get("/prices")
async def prices() -> Body:
    """Answers with all prices or 500."""
    return await naive()
