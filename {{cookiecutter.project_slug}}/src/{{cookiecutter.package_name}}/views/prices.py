"""Several prices at once: `GET /prices?symbol=AAPL&symbol=MSFT`."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated

from flask import Blueprint, Response
from pydantic import BaseModel, Field, PlainSerializer
from typed_views import Query, typed
from upstreams import FanOut, fan_out

from ..parts import parts
from ..problems import UPSTREAM_PROBLEMS, upstream_problem

bp = Blueprint("prices", __name__)

MAX_SYMBOLS = 20

Symbol = Annotated[str, Field(pattern="^[A-Z][A-Z0-9.-]{0,9}$", examples=["AAPL"])]
# A text, because many clients would round a number; without an exponent.
Money = Annotated[Decimal, PlainSerializer(lambda value: f"{value:f}", return_type=str)]


class Failure(BaseModel):
    """Why a price is missing."""

    type: str
    detail: str


class Wait(BaseModel):
    """From when to when the price of a symbol was waited for."""

    symbol: str
    start_ms: float
    end_ms: float


class Prices(BaseModel):
    """The prices that arrived, and how long all were waited for."""

    prices: dict[str, Money]
    total: Money
    failed: dict[str, Failure]
    elapsed_ms: float
    sum_of_waits_ms: float
    concurrent: bool
    waits: list[Wait]


@bp.get("/prices")
@typed(problems=UPSTREAM_PROBLEMS)
async def prices(
    symbol: Annotated[list[Symbol], Query(), Field(min_length=1, max_length=MAX_SYMBOLS)],
) -> tuple[Prices, dict[str, str]] | Response:
    """Answer with the price of every symbol and their total, fetched at once.

    200 when at least one arrived; the others are in `failed`, each with its reason. 503 when too
    many calls wait for the upstream already, 504 when all ran out of time, else 502; all three are
    problems that carry the same members.
    """
    result = await fetched(symbol)
    body, headers = _body(result), {"Server-Timing": _server_timing(result)}
    if result.arrived:
        return body, headers
    members = body.model_dump(mode="json")
    response = upstream_problem(result.failed.values(), "No price could be fetched.", **members)
    response.headers.update(headers)
    return response


async def fetched(symbols: Iterable[str]) -> FanOut[str, Decimal]:
    """Return the prices of these symbols, all asked for at once and each one once."""
    settings = parts().settings.prices
    return await fan_out(
        parts().clients.prices.price,
        dict.fromkeys(symbols),
        deadline=settings.deadline_seconds,
        max_concurrency=settings.max_concurrency,
    )


def _body(result: FanOut[str, Decimal]) -> Prices:
    arrived = result.arrived
    return Prices(
        prices=arrived,
        total=sum(arrived.values(), Decimal()),
        failed={
            symbol: Failure(type=type(error).__name__, detail=str(error))
            for symbol, error in result.failed.items()
        },
        elapsed_ms=_ms(result.elapsed),
        sum_of_waits_ms=_ms(result.sum_of_waits),
        concurrent=result.concurrent,
        waits=[
            Wait(symbol=call.key, start_ms=_ms(call.start), end_ms=_ms(call.end))
            for call in result.calls
        ],
    )


def _server_timing(result: FanOut[str, Decimal]) -> str:
    """Return a metric per call and their total (W3C Server Timing, section 3).

    A symbol is a valid token by its pattern. No symbol is `total`, because symbols are capitals.
    """
    calls = [f"{call.key};dur={_ms(call.end - call.start)}" for call in result.calls]
    return ", ".join([*calls, f"total;dur={_ms(result.elapsed)}"])


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
