"""Traffic of one kind against a server: the requests, their number, and the answers."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Literal, NamedTuple

from .raw import Answer, Connection, Lost, chunked, request

PATIENCE_SECONDS = 10.0  # for one request
MOST_SECONDS = 180.0  # for a part of a kind
CANCEL_SECONDS = 0.3  # seconds after which the client disconnects

KIB = 1024
MB = 1_000_000

# Reads the answer and keeps the connection; reads it and disconnects, as the request is incomplete;
# disconnects without reading; or waits a while and resets the connection.
How = Literal["answer", "answer once", "leave", "break off"]


class Kind(NamedTuple):
    """Requests of one kind."""

    name: str
    request: Callable[[int], bytes]  # the request with this number
    how: How = "answer"
    at_once: int = 20
    few: int = 2_000
    many: int = 20_000
    upstream: str = ""  # the upstream's behaviour, if it takes part: see prices_upstream.py
    limits: tuple[tuple[str, float], ...] = ()  # settings of the bake
    peer_options: tuple[str, ...] = ()  # of uvicorn, in place of a setting of the bake
    full: bool = False  # whether a held request fills the only place


def prices(first: int, symbols: int, *headers: str) -> bytes:
    """A request for the prices of `symbols` symbols, from the number `first` on."""
    query = "&".join(f"symbol=S{number:X}" for number in range(first, first + symbols))
    return request("GET", f"/prices?{query}", *headers)


def _cancelled(number: int) -> bytes:
    return prices(20 * number, 3 if number < 20_000 else 20)  # noqa: PLR2004 (the last wave)


SHORT, LONG = bytes(2 * KIB), bytes(MB)
CHUNKS = chunked(*[bytes(512)] * 4)
SOON = (("PRICES__TIMEOUT_SECONDS", 0.3), ("PRICES__DEADLINE_SECONDS", 0.5))

KINDS = (
    Kind("no body", lambda _: request("GET", "/nothing")),
    Kind("no body, sync view", lambda _: request("GET", "/sync/nothing")),
    Kind("body of 2 KB", lambda _: request("POST", "/body", body=SHORT)),
    Kind(
        "body of 2 KB, sync view",
        lambda _: request(
            "POST", "/sync/body", "Content-Type: application/octet-stream", body=SHORT
        ),
    ),
    Kind("body of 1 MB, in sequence", lambda _: request("POST", "/body", body=LONG), at_once=1),
    Kind(
        "body of 1 MB, sync view, in sequence",
        lambda _: request(
            "POST", "/sync/body", "Content-Type: application/octet-stream", body=LONG
        ),
        at_once=1,
        few=200,
        many=2_000,
    ),
    Kind(
        "chunked body",
        lambda _: request("POST", "/body", "Transfer-Encoding: chunked", body=CHUNKS),
    ),
    Kind(
        "upload broken off",
        lambda _: request("POST", "/body", f"Content-Length: {MB}", body=bytes(100 * KIB)),
        "leave",
    ),
    Kind("upstream refuses", lambda number: prices(3 * number, 3), upstream="refuse"),
    Kind("upstream answers 500", lambda number: prices(3 * number, 3), upstream="error"),
    Kind(
        "upstream never answers",
        lambda number: prices(3 * number, 3),
        at_once=500,
        upstream="hang",
        limits=SOON,
    ),
    Kind("400: a header 150 times", lambda _: request("GET", "/nothing", *["X-Many: 1"] * 150)),
    Kind("400: Host is no host", lambda _: request("GET", "/nothing", host="a/b c")),
    Kind(
        "Host of 1 MB",
        lambda _: request("GET", "/nothing", host="h" * MB),
        at_once=4,
        few=50,
        many=500,
    ),
    Kind("404", lambda number: request("GET", f"/missing/{number}")),
    Kind("405", lambda _: request("DELETE", "/nothing")),
    Kind(
        "413",
        lambda _: request("POST", "/body", f"Content-Length: {2 * MB}", body=bytes(64 * KIB)),
        "answer once",
    ),
    Kind("500: the view raises", lambda _: request("GET", "/raises")),
    Kind(
        "503: full",
        lambda _: request("GET", "/nothing"),
        limits=(("MAX_IN_FLIGHT", 1),),
        peer_options=("--limit-concurrency", "2"),
        full=True,
    ),
    Kind("stream of 10 KB", lambda _: request("GET", "/stream")),
    Kind(
        "client leaves during the view",
        lambda _: request("GET", "/wait/30.0"),
        "break off",
        at_once=1000,
    ),
    Kind(
        "client leaves during upstream calls, at last fan-outs",
        _cancelled,
        "break off",
        at_once=1000,
        many=22_000,
        upstream="hang",
    ),
    Kind(
        "256 header names of 1 MB",
        lambda number: request("GET", "/nothing", f"X-{number:03}-{'a' * MB}: 1"),
        at_once=4,
        few=32,
        many=256,
    ),
    Kind(
        "1,024 paths of 60 KB",
        lambda number: request("GET", f"/{number:04}{'a' * 60 * KIB}"),
        few=128,
        many=1_024,
    ),
)


async def drive(port: int, kind: Kind, numbers: Iterable[int]) -> Counter[str]:
    """Sends the requests with these numbers, and counts the outcomes.

    It reuses a connection while it is open. After a time limit it sends no more requests.
    """
    counted: Counter[str] = Counter()
    end = time.monotonic() + MOST_SECONDS
    in_time = itertools.takewhile(lambda _: time.monotonic() < end, numbers)
    await asyncio.gather(
        *(_one_after_another(port, kind, in_time, counted) for _ in range(kind.at_once))
    )
    return counted


async def _one_after_another(
    port: int, kind: Kind, numbers: Iterator[int], counted: Counter[str]
) -> None:
    connection = None
    for number in numbers:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                connection = connection or await Connection.open(port)
                became = await _ask(connection, kind, number)
        except TimeoutError:
            became = "no answer"
        except Lost:
            became = "connection lost"
        if isinstance(became, Answer):
            counted[str(became.status)] += 1
            if not became.closes and kind.how == "answer":
                continue
        else:
            counted[became] += 1
        if connection is not None:
            connection.close()
        connection = None
    if connection is not None:
        connection.close()


async def _ask(connection: Connection, kind: Kind, number: int) -> Answer | str:
    await connection.send(kind.request(number))
    if kind.how.startswith("answer"):
        return await connection.answer()
    if kind.how == "break off":
        await asyncio.sleep(CANCEL_SECONDS)
        connection.reset()
    return "left"


async def longest_livez(port: int, until: asyncio.Task[Any]) -> float:
    """The longest `/livez` in seconds, repeated until a task is done."""
    longest = 0.0
    while not until.done():
        asked = time.monotonic()
        with suppress(*Lost):
            async with await Connection.open(port) as connection:
                await connection.send(request("GET", "/livez", "Connection: close"))
                await connection.answer()
        longest = max(longest, time.monotonic() - asked)
        await asyncio.sleep(0.1)
    return longest
