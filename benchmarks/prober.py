"""Asks whether a service lives, ten times a second, on new connections and on one that is kept.

    python -m benchmarks.prober PORT SECONDS

It reads from its input the moment to begin, by the monotonic clock. A time is measured from when
the question was due, so an answer that keeps the next question waiting counts for both. After
SECONDS it goes on until a question that was asked after them is answered. It prints JSON: times in
milliseconds, and how late this process itself was, which is part of every time.
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
    """The least value that this share of all values does not exceed; None of no values."""
    if not values:
        return None
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def summed_up(seconds: Sequence[float]) -> dict[str, float | int | None]:
    """How many there are; the median, the 99th percentile and the longest, in milliseconds."""
    found = {
        "p50": percentile(seconds, 0.5),
        "p99": percentile(seconds, 0.99),
        "max": max(seconds, default=None),
    }
    return {"count": len(seconds)} | {
        name: None if value is None else round(1000 * value, 1) for name, value in found.items()
    }


class Prober:
    """Asks one server, and remembers how long that took."""

    def __init__(self, port: int, begin: float, seconds: float) -> None:
        self.port = port
        self.begin, self.end = begin, begin + seconds
        self.times: dict[str, list[float]] = {"new": [], "kept": []}
        self.late: list[float] = []  # by how much this process itself was
        self.failed = 0
        self.recovered: float | None = None
        self.kept: Connection | None = None

    async def run(self) -> dict[str, Any]:
        """What was found."""
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
        """Asks when it is due, whatever became of the questions before."""
        asked = []
        for due in self.moments():
            await self.until(due)
            asked.append(asyncio.create_task(self.timed("new", due)))
        await asyncio.gather(*asked)

    async def ask_on_a_kept_one(self) -> None:
        """Asks when it is due and the answer before has come."""
        for due in self.moments():
            await self.until(due)
            await self.timed("kept", due)

    async def recover(self) -> None:
        """Asks after the load until there is an answer."""
        await self.until(self.end)
        while not await self.on_a_new_one():  # noqa: ASYNC110 (a server sends no event)
            await asyncio.sleep(EVERY)
        self.recovered = round(time.monotonic() - self.end, 3)

    def moments(self) -> list[float]:
        """When questions are due."""
        count = round((self.end - self.begin) / EVERY)
        return [self.begin + EVERY * number for number in range(count)]

    async def until(self, due: float) -> None:
        """Waits, and notes how late it is told."""
        if (left := due - time.monotonic()) > 0:
            await asyncio.sleep(left)
            self.late.append(time.monotonic() - due)

    async def timed(self, how: str, due: float) -> None:
        """Asks, and notes how long that took, also when it has failed or is given up."""
        good = False
        try:
            good = await (self.on_a_new_one() if how == "new" else self.on_the_kept_one())
        finally:
            self.failed += not good
            self.times[how].append(time.monotonic() - due)

    async def on_a_new_one(self) -> bool:
        """Whether the answer on a connection of its own is 200."""
        try:
            async with await Connection.open(self.port) as connection:
                return await self.is_alive(connection, "Connection: close")
        except Lost:
            return False

    async def on_the_kept_one(self) -> bool:
        """Whether the answer is 200 on the connection of the answer before, if that lasted."""
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
        """Closes the connection that is kept."""
        if self.kept is not None:
            self.kept.close()
        self.kept = None


async def measure(port: int, seconds: float) -> dict[str, Any]:
    """What a prober finds that begins when its input says so."""
    begin = float(await asyncio.to_thread(sys.stdin.readline))
    return await Prober(port, begin, seconds).run()


if __name__ == "__main__":
    print(json.dumps(uvloop.run(measure(int(sys.argv[1]), float(sys.argv[2])))), flush=True)
