"""Three prices in Flask, with the template's client and fan-out, like a service's view."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from flask import Flask, Response, jsonify
from flask_asgi import FlaskToAsgi
from upstreams import Upstream, fan_out

from .prices import CALL_SECONDS, CONNECTIONS, DEADLINE_SECONDS, three_paths
from .upstream_calls import CLIENT, URL

# The other options of the client have their defaults.
upstream = Upstream("prices", URL, timeout=CALL_SECONDS, max_connections=CONNECTIONS)
app = Flask(__name__)


@asynccontextmanager
async def lifespan(_app: Flask) -> AsyncIterator[None]:
    """Opens the client."""
    async with upstream.open():
        yield


@app.get("/prices")
async def prices() -> tuple[Response, int]:
    """Answers with the prices that arrived; 502 without any price."""
    result = await fan_out(price, three_paths(), deadline=DEADLINE_SECONDS, max_concurrency=10)
    failed = {path: str(error) for path, error in result.failed.items()}
    body = jsonify(prices=result.arrived, failed=failed)
    return body, (200 if result.arrived else 502)


async def price(path: str) -> object:
    """Gets one price."""
    response = await upstream.get(path, hedge=CLIENT == "hedged")
    return response.json()["price"]


asgi = FlaskToAsgi(app, lifespan=lifespan)
