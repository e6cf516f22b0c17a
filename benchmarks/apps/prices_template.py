"""Three prices in Flask, with the client and the fan-out of a bake, as its own view has them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from flask import Flask, Response, jsonify
from flask_asgi import FlaskToAsgi
from price_service.problems import upstream_problem
from upstreams import Upstream, fan_out

from .prices import CALL_SECONDS, CONNECTIONS, DEADLINE_SECONDS, three_paths
from .upstream_calls import CLIENT, URL

# What is not said here is as the client has it by default.
upstream = Upstream("prices", URL, timeout=CALL_SECONDS, max_connections=CONNECTIONS)
app = Flask(__name__)


@asynccontextmanager
async def lifespan(_app: Flask) -> AsyncIterator[None]:
    """Opens the client."""
    async with upstream.open():
        yield


@app.get("/prices")
async def prices() -> Response:
    """Answers with what arrived; 502 or 504 when nothing did."""
    result = await fan_out(price, three_paths(), deadline=DEADLINE_SECONDS, max_concurrency=10)
    failed = {path: str(error) for path, error in result.failed.items()}
    members = {"prices": result.arrived, "failed": failed}
    if result.arrived:
        return jsonify(members)
    answer: Response = upstream_problem(
        result.failed.values(), "No price could be fetched.", **members
    )
    return answer


async def price(path: str) -> object:
    """Gets one."""
    response = await upstream.get(path, hedge=CLIENT == "hedged")
    return response.json()["price"]


asgi = FlaskToAsgi(app, lifespan=lifespan)
