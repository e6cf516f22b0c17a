"""The views of the generated service in Flask, served by the engine alone: no duties.

There are no ids, no log lines, no metrics and no problems. The difference to the service is the
cost of these duties.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from flask import Flask, Response, abort, jsonify, request
from flask_asgi import FlaskToAsgi, tuned_garbage_collector
from upstreams import Upstream, fan_out

from .report import report as made_report
from .service_prices import CALL, CONNECTIONS, DEADLINE, URL, valid

app = Flask(__name__)
upstream = Upstream("prices", URL, timeout=CALL, max_connections=CONNECTIONS)


@asynccontextmanager
async def lifespan(_app: Flask) -> AsyncIterator[None]:
    """Starts like the generated service."""
    async with upstream.open():
        with tuned_garbage_collector():
            yield


@app.get("/livez")
async def livez() -> Response:
    """Answers while the loop runs."""
    return jsonify(status="alive")


@app.get("/nothing")
async def nothing() -> dict[str, bool]:
    """Does nothing, on the event loop."""
    return {"ok": True}


@app.get("/sync/nothing")
def sync_nothing() -> dict[str, bool]:
    """Does nothing, in a thread."""
    return {"ok": True}


@app.post("/report")
async def report() -> Response:
    """Answers 2 KB of JSON with 10 KB."""
    return jsonify(made_report(request.get_json()))


@app.get("/prices")
async def prices() -> tuple[Response, int]:
    """Answers with the prices that arrived; 502 without any price."""
    symbols = request.args.getlist("symbol")
    if not valid(symbols):
        abort(400)
    result = await fan_out(_price, symbols, deadline=DEADLINE, max_concurrency=10)
    failed = {name: str(error) for name, error in result.failed.items()}
    waits = [
        {"symbol": call.key, "start_ms": call.start * 1000, "end_ms": call.end * 1000}
        for call in result.calls
    ]
    body = jsonify(prices=result.arrived, failed=failed, waits=waits)
    return body, (200 if result.arrived else 502)


async def _price(symbol: str) -> str:
    response = await upstream.get(f"/prices/{symbol}")
    return str(response.json()["price"])


asgi = FlaskToAsgi(app, lifespan=lifespan)
