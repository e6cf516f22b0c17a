"""Compares the processor time of a call through the template's client and through aiohttp.

    python -m benchmarks.client_cost PORT BATCHES CALLS

It calls the upstream at PORT with 150 calls in flight. The ways alternate in batches of CALLS. It
prints the best batch of each way as JSON, in microseconds. `make bench ONLY=client` runs it.
"""

import asyncio
import gc
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import aiohttp
import uvloop

from .serving import BYTECODE, HERE, BenchError, Cores, upstream_on

IN_FLIGHT = 150
BATCHES, CALLS = 5, 6000
KEYS = ("A", "B", "C")  # of a fan-out
YOUNG = 50_000  # objects: the generated service's setting of the collector

Way = Callable[[], Awaitable[object]]

WAYS = {
    "aiohttp": "bare aiohttp, one call with json()",
    "get": "Upstream.get, one call with json()",
    "get alone": "Upstream.get without coalescing",
    "gather": "asyncio.gather of three calls of bare aiohttp",
    "fan_out": "fan_out of three calls of Upstream.get",
}


def measured(cores: Cores, *, quick: bool) -> list[dict[str, Any]]:
    """One row for each way, with the microseconds of processor time of a call.

    Raises:
        BenchError: a call fails.
    """
    batches, calls = (1, 600) if quick else (BATCHES, CALLS)
    with upstream_on(cores.load, "prices_upstream") as port:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.client_cost", *map(str, (port, batches, calls))],
            cwd=HERE.root,
            env=os.environ
            | {"PYTHONPATH": f"{HERE.sources}", "PYTHONPYCACHEPREFIX": str(BYTECODE)},
            preexec_fn=lambda: os.sched_setaffinity(0, {cores.server}),
            text=True,
            capture_output=True,
            check=False,
        )
    if done.returncode:
        message = f"The calls failed:\n{done.stderr[-2000:]}"
        raise BenchError(message)
    best = json.loads(done.stdout)
    return [{"way": way, "cpu_us": round(best[way], 1)} for way in WAYS]


async def best_of(port: int, batches: int, calls: int) -> Mapping[str, float]:
    """The microseconds of each way: the best of `batches`."""
    from upstreams import Upstream, fan_out  # noqa: PLC0415 (from the sources; `measured` has none)

    base = f"http://127.0.0.1:{port}"
    paths = (f"/prices/S{number:X}" for number in itertools.count())
    shared, alone = (
        Upstream("prices", base, max_connections=2 * IN_FLIGHT, coalesce=coalesce)
        for coalesce in (True, False)
    )
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(base, connector=connector) as session:

        async def bare(_: str = "") -> object:
            async with session.get(next(paths)) as reply:
                return await reply.json()

        async def get(_: str = "") -> object:
            return (await shared.get(next(paths))).json()

        async def get_alone() -> object:
            return (await alone.get(next(paths))).json()

        async def gather() -> object:
            return await asyncio.gather(*map(bare, KEYS))

        async def three() -> None:
            outcome = await fan_out(get, KEYS, deadline=3, max_concurrency=10)
            for error in outcome.failed.values():
                raise error

        ways: dict[str, tuple[Way, int]] = {
            "aiohttp": (bare, 1),
            "get": (get, 1),
            "get alone": (get_alone, 1),
            "gather": (gather, len(KEYS)),
            "fan_out": (three, len(KEYS)),
        }
        async with shared.open(), alone.open():
            best = dict.fromkeys(ways, float("inf"))
            for round_, (name, (way, size)) in itertools.product(range(batches + 1), ways.items()):
                took = await _batch(way, calls // size, IN_FLIGHT // size)
                if round_:  # the first batch makes the connections
                    best[name] = min(best[name], took)
            return best


async def _batch(way: Way, number: int, in_flight: int) -> float:
    """The microseconds of processor time for each of `number` calls."""
    left = iter(range(number))

    async def worker(left: Iterator[int]) -> None:
        for _ in left:
            await way()

    gc.collect()
    began = time.process_time()
    await asyncio.gather(*(worker(left) for _ in range(in_flight)))
    return (time.process_time() - began) / number * 1e6


if __name__ == "__main__":
    gc.set_threshold(YOUNG)
    print(json.dumps(uvloop.run(best_of(*map(int, sys.argv[1:])))))
