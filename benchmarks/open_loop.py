"""A caller that sends the next request before the last answer, and has a timeout.

Requests come at a constant rate, however slow the answers are. The timeout of each request begins
when it is due; then the caller disconnects. It prints JSON.
"""

import asyncio
import json
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from time import perf_counter
from typing import Any, Literal

import uvloop

CALLS = 3  # calls of an upstream for one request

# Complete: a 200 with all prices. Partial: a 200 with some prices, and the others in `failed`.
# Failed: any other answer in time, or a broken connection. Late: no answer in time.
Outcome = Literal["complete", "partial", "failed", "late"]


def outcome(reply: bytes) -> Outcome:
    """The outcome of an answer in time."""
    head, _, body = reply.partition(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        return "failed"
    try:
        answer = json.loads(body)
    except ValueError:  # the answer is cut off
        return "failed"
    prices, failed = len(answer["prices"]), len(answer["failed"])
    if not prices or prices + failed != CALLS:
        return "failed"
    return "partial" if failed else "complete"


async def ask(port: int, due: float, patience: float) -> tuple[Outcome, float]:
    """The outcome of one request, and the seconds from its due time to the outcome."""
    request = b"GET /prices HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    writer = None
    try:
        async with asyncio.timeout(due + patience - perf_counter()):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            found = outcome(await reader.read())
    except TimeoutError:
        found = "late"
    except OSError:
        found = "failed"
    finally:
        if writer is not None:
            writer.close()
    return found, perf_counter() - due


async def measure(port: int, rate: int, seconds: float, patience: float) -> dict[str, Any]:
    """The outcomes of `rate` requests a second for `seconds`."""
    start = perf_counter()
    asked = []
    for number in range(round(rate * seconds)):
        due = start + number / rate
        await asyncio.sleep(due - perf_counter())
        asked.append(asyncio.create_task(ask(port, due, patience)))
    return summed_up(await asyncio.gather(*asked))


def summed_up(asked: Sequence[tuple[Outcome, float]]) -> dict[str, Any]:
    """The number of requests by outcome, and the latency of the useful answers."""
    counts = Counter(found for found, _ in asked)
    waits = [1000 * wait for found, wait in asked if found in {"complete", "partial"}]
    percentiles = statistics.quantiles(waits, n=100) if len(waits) > 1 else None
    return {
        "requests": len(asked),
        **{name: counts[name] for name in ("complete", "partial", "failed", "late")},
        "latency_ms": {
            str(percentile): round(percentiles[percentile - 1], 1) if percentiles else None
            for percentile in (50, 90, 99)
        },
    }


if __name__ == "__main__":
    port, rate, *limits = sys.argv[1:]
    print(json.dumps(uvloop.run(measure(int(port), int(rate), *map(float, limits)))))
