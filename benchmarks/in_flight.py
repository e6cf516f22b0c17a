"""A client with very many requests in flight at once, which counts the lost requests.

All connections are made first; then all requests are sent at once. It prints JSON.
"""

import asyncio
import json
import statistics
import sys
import time
from typing import Any

import uvloop

CONNECTING = 100  # at once: the server's backlog is not measured
GIVE_UP_SECONDS = 60.0

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(port: int, gate: asyncio.Semaphore) -> Connection | None:
    """A connection, or None if it fails."""
    async with gate:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return None


async def ask(connection: Connection | None, request: bytes) -> tuple[float, int] | None:
    """The time of the answer and the requests in flight then, or None for a lost request."""
    if connection is None:
        return None
    reader, writer = connection
    try:
        writer.write(request)
        async with asyncio.timeout(GIVE_UP_SECONDS):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    except (OSError, TimeoutError):
        return None
    finally:
        writer.close()
    if b" 200 " not in head.partition(b"\r\n")[0]:
        return None
    return time.perf_counter(), json.loads(body)["inside"]


async def measure(port: int, count: int, seconds: float) -> dict[str, Any]:
    """The outcomes of `count` requests, each held by the server for `seconds`."""
    request = f"GET /hold/{seconds:.3f} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    gate = asyncio.Semaphore(CONNECTING)
    connections = await asyncio.gather(*(connect(port, gate) for _ in range(count)))
    start = time.perf_counter()
    outcomes = await asyncio.gather(*(ask(each, request.encode()) for each in connections))
    answers = [outcome for outcome in outcomes if outcome is not None]
    waits = [end - start for end, _ in answers]
    return {
        "requests": count,
        "lost": count - len(answers),
        "most_inside": max((inside for _, inside in answers), default=0),
        "seconds": round(max(waits, default=0.0), 3),
        "median_seconds": round(statistics.median(waits), 3) if waits else None,
    }


if __name__ == "__main__":
    arguments = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    print(json.dumps(uvloop.run(measure(*arguments))))
