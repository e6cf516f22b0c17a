"""Asks `/livez` ten times a second, on new connections and on a kept-alive connection.

    python -m benchmarks.prober PORT SECONDS

It reads the time to begin from its input, by the monotonic clock. The latency of a request begins
at its due time, so an answer that delays the next request counts for both. After SECONDS it
continues until a later request is answered. It prints JSON: times in milliseconds, and the delay of
this process itself, which is part of every time.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import uvloop

from .raw import Connection, Lost, request

EVERY = 0.1
GIVE_UP = 60.0  # seconds after the load


def percentile(values: Sequence[float], share: float) -> float | None:
    """The least value that this share of all values does not exceed; None without values."""
    if not values:
        return None
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def summed_up(seconds: Sequence[float]) -> dict[str, float | int | None]:
    """The count, the median, the 99th percentile and the maximum, in milliseconds."""
    found = {
        "p50": percentile(seconds, 0.5),
        "p99": percentile(seconds, 0.99),
        "max": max(seconds, default=None),
    }
    return {"count": len(seconds)} | {
        name: None if value is None else round(1000 * value, 1) for name, value in found.items()
    }


class Prober:
    """Sends requests to one server, and records their latencies."""

    def __init__(self, port: int, begin: float, seconds: float) -> None:
        self.port = port
        self.begin, self.end = begin, begin + seconds
        self.times: dict[str, list[float]] = {"new": [], "kept": []}
        self.late: list[float] = []  # the delays of this process itself
        self.failed = 0
        self.recovered: float | None = None
        self.kept: Connection | None = None

    async def run(self) -> dict[str, Any]:
        """The results."""
        tasks = [
            asyncio.create_task(work())
            for work in (self.ask_on_new_ones, self.ask_on_a_kept_one, self.recover)
        ]
        _, unfinished = await asyncio.wait(tasks, timeout=self.end + GIVE_UP - time.monotonic())
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.close()
        return {
            "livez_new_ms": summed_up(self.times["new"]),
            "livez_kept_ms": summed_up(self.times["kept"]),
            "livez_failed": self.failed,
            "livez_after_load_s": self.recovered,
            "prober_late_ms": summed_up(self.late),
        }

    async def ask_on_new_ones(self) -> None:
        """Asks at every due time, even before earlier answers."""
        asked = []
        for due in self.moments():
            await self.until(due)
            asked.append(asyncio.create_task(self.timed("new", due)))
        await asyncio.gather(*asked)

    async def ask_on_a_kept_one(self) -> None:
        """Asks at every due time, but only after the last answer."""
        for due in self.moments():
            await self.until(due)
            await self.timed("kept", due)

    async def recover(self) -> None:
        """Asks after the load until an answer arrives."""
        await self.until(self.end)
        while not await self.on_a_new_one():  # noqa: ASYNC110 (a server sends no event)
            await asyncio.sleep(EVERY)
        self.recovered = round(time.monotonic() - self.end, 3)

    def moments(self) -> list[float]:
        """The due times of the requests."""
        count = round((self.end - self.begin) / EVERY)
        return [self.begin + EVERY * number for number in range(count)]

    async def until(self, due: float) -> None:
        """Waits, and records the delay of this process."""
        if (left := due - time.monotonic()) > 0:
            await asyncio.sleep(left)
            self.late.append(time.monotonic() - due)

    async def timed(self, how: str, due: float) -> None:
        """Asks, and records the latency, also of a failure or a timeout."""
        good = False
        try:
            good = await (self.on_a_new_one() if how == "new" else self.on_the_kept_one())
        finally:
            self.failed += not good
            self.times[how].append(time.monotonic() - due)

    async def on_a_new_one(self) -> bool:
        """Whether the answer on a new connection is 200."""
        try:
            async with await Connection.open(self.port) as connection:
                return await self.is_alive(connection, "Connection: close")
        except Lost:
            return False

    async def on_the_kept_one(self) -> bool:
        """Whether the answer is 200, on the last connection if it is still open."""
        try:
            if self.kept is None:
                self.kept = await Connection.open(self.port)
            return await self.is_alive(self.kept)
        except Lost:
            self.close()
            return False

    async def is_alive(self, connection: Connection, *headers: str) -> bool:
        """Whether the answer is 200."""
        await connection.send(request("GET", "/livez", *headers))
        return (await connection.answer()).status == HTTPStatus.OK

    def close(self) -> None:
        """Closes the kept connection."""
        if self.kept is not None:
            self.kept.close()
        self.kept = None


async def measure(port: int, seconds: float) -> dict[str, Any]:
    """The results of a prober that begins at the time in its input."""
    begin = float(await asyncio.to_thread(sys.stdin.readline))
    return await Prober(port, begin, seconds).run()


if __name__ == "__main__":
    print(json.dumps(uvloop.run(measure(int(sys.argv[1]), float(sys.argv[2])))), flush=True)
