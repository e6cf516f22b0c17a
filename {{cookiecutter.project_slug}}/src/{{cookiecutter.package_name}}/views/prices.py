"""Several prices at once: `GET /prices?symbol=AAPL&symbol=MSFT`."""

import re
from decimal import Decimal
from http import HTTPStatus

from flask import Blueprint, Response, abort, jsonify, request
from upstreams import FanOut, fan_out

from ..parts import parts
from ..problems import upstream_problem

bp = Blueprint("prices", __name__)

MAX_SYMBOLS = 20
SYMBOL = re.compile(r"[A-Z][A-Z0-9.-]{0,9}")


@bp.get("/prices")
async def prices() -> Response:
    """Answer with the price of every `symbol` and their total, fetched at once.

    200 when at least one arrived; the others are in `failed`, each with its reason. 503 when too
    many calls wait for the upstream already, 504 when all ran out of time, else 502; all three are
    problems that carry the same members.
    """
    symbols = _symbols(request.args.getlist("symbol"))
    settings = parts().settings
    result = await fan_out(
        parts().clients.prices.price,
        symbols,
        deadline=settings.prices.deadline_seconds,
        max_concurrency=settings.prices.max_concurrency,
    )
    response = _response(result)
    response.headers["Server-Timing"] = _server_timing(result)
    return response


def _symbols(given: list[str]) -> list[str]:
    symbols = list(dict.fromkeys(given))
    accepted = (
        f"accepted: 1 to {MAX_SYMBOLS} different ones, each of 1 to 10 characters: "
        "a capital letter, then capital letters, digits, '.' or '-'"
    )
    if not 1 <= len(symbols) <= MAX_SYMBOLS:
        abort(HTTPStatus.BAD_REQUEST, f"symbol: {len(symbols)} different ones; {accepted}")
    for symbol in symbols:
        if not SYMBOL.fullmatch(symbol):
            abort(HTTPStatus.BAD_REQUEST, f"symbol: {symbol[:20]!r} is none; {accepted}")
    return symbols


def _response(result: FanOut[str, Decimal]) -> Response:
    arrived = result.arrived
    members = {
        "prices": {symbol: f"{price:f}" for symbol, price in arrived.items()},
        "total": f"{sum(arrived.values(), Decimal()):f}",
        "failed": {
            symbol: {"type": type(error).__name__, "detail": str(error)}
            for symbol, error in result.failed.items()
        },
        "elapsed_ms": _ms(result.elapsed),
        "sum_of_waits_ms": _ms(result.sum_of_waits),
        "concurrent": result.concurrent,
        "waits": [
            {"symbol": call.key, "start_ms": _ms(call.start), "end_ms": _ms(call.end)}
            for call in result.calls
        ],
    }
    if arrived:
        return jsonify(members)
    return upstream_problem(result.failed.values(), "No price could be fetched.", **members)


def _server_timing(result: FanOut[str, Decimal]) -> str:
    """Return a metric per call and their total (W3C Server Timing, section 3).

    A symbol is a token by its pattern, and `total` is none because it is not in capitals.
    """
    calls = [f"{call.key};dur={_ms(call.end - call.start)}" for call in result.calls]
    return ", ".join([*calls, f"total;dur={_ms(result.elapsed)}"])


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
