"""Very many clients at once; each asks for many prices, again and again.

    python -m benchmarks.fan_out_load JSON

JSON holds the fields of `Load`. All connections are made first. Then it prints `ready`, reads the
time to begin from its input, by the monotonic clock, and asks on every connection; each request
follows the answer to the last. A lost connection is made again. It prints JSON.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import uvloop

CONNECTING = 100  # at once: the server's backlog is not measured
NICE = 10  # the upstream and the prober on the same core have priority


class Load(NamedTuple):
    """The requests of the load."""

    port: int
    connections: int
    symbols: int  # of each request
    seconds: float
    pause: float  # seconds that a refused client waits
    ramp: float  # seconds over which the first requests are spread
    same: bool  # whether all requests ask for the same symbols; otherwise no symbol repeats


class Tally:
    """The outcomes of the requests of a load."""

    def __init__(self) -> None:
        self.by_second: Counter[int] = Counter()  # of the answers with 200
        self.complete = 0  # answers with 200 and all prices
        self.statuses: Counter[int] = Counter()
        self.lost: Counter[str] = Counter()  # connections, by event
        self.asked = 0

    def answered(self, status: int, body: bytes, second: int) -> None:
        """Counts an answer in this second of the load."""
        self.statuses[status] += 1
        if status == 200:  # noqa: PLR2004
            self.by_second[second] += 1
            self.complete += not json.loads(body)["failed"]

    def as_row(self, seconds: float) -> dict[str, Any]:
        """The figures; requests without an answer at the end of the load are `unanswered`."""
        answered = self.statuses.total()
        return {
            "asked": self.asked,
            "successes": self.statuses[200],
            "complete": self.complete,
            "successes_by_second": [self.by_second[second] for second in range(round(seconds))],
            "refused": self.statuses[503],
            "other_statuses": {
                str(status): count
                for status, count in sorted(self.statuses.items())
                if status not in {200, 503}
            },
            "lost": dict(self.lost),
            "unanswered": self.asked - answered - self.lost["in mid-request"],
        }


class Answer(NamedTuple):
    """A complete answer."""

    status: int
    body: bytes
    closes: bool  # the connection


def parse(data: bytes) -> Answer | None:
    """The answer in these bytes, or None while it is incomplete.

    An answer without a length (RFC 9112, section 6.3) ends with its connection, which is unknown
    here. Such an answer never counts as complete.
    """
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return None
    lower = head.lower()
    _, found, length = lower.partition(b"\r\ncontent-length:")
    if not found or len(body) < int(length.partition(b"\r\n")[0]):
        return None
    return Answer(int(head[9:12]), body, b"\r\nconnection: close" in lower)


def requests(symbols: int, *, same: bool) -> Iterator[bytes]:
    """Requests for `symbols` symbols each; symbols repeat only with `same`."""
    number = 0
    while True:
        first = 0 if same else number
        query = "&".join(f"symbol=S{each:X}" for each in range(first, first + symbols))
        yield f"GET /prices?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        number += symbols


class _Client(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, begin: float, tally: Tally, load: Load, ask: Callable[[], bytes]) -> None:
        self.begin, self.tally, self.load, self.next = begin, tally, load, ask
        self.end = begin + load.seconds
        self.unread = b""
        self.asking = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", self.load.port)

    def ask(self) -> None:
        if not self.transport.is_closing() and time.monotonic() < self.end:
            self.asking = True
            self.tally.asked += 1
            self.transport.write(self.next())

    def data_received(self, data: bytes) -> None:
        self.unread += data
        now = time.monotonic()
        if (answer := parse(self.unread)) is None or now >= self.end:
            return
        self.unread = b""
        self.asking = False
        self.tally.answered(answer.status, answer.body, int(now - self.begin))
        loop = asyncio.get_running_loop()
        wait = self.load.pause if answer.status != 200 else 0  # noqa: PLR2004
        if answer.closes:
            self.transport.close()
        elif wait:
            loop.call_later(wait, self.ask)
        else:
            self.ask()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (it is counted)
        if time.monotonic() < self.end:
            self.tally.lost["in mid-request" if self.asking else "between requests"] += 1
            wait = self.load.pause or 0.01  # prevents a busy loop on a closed port
            asyncio.get_running_loop().call_later(wait, self.again)

    def again(self) -> None:
        task = asyncio.create_task(self.connect_again())
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)

    async def connect_again(self) -> None:
        self.asking, self.unread = False, b""
        while time.monotonic() < self.end:
            try:
                await self.connect()
            except OSError:
                self.tally.lost["not made"] += 1
                await asyncio.sleep(0.1)
            else:
                self.ask()
                return


_tasks: set[asyncio.Task[None]] = set()


async def measure(load: Load) -> dict[str, Any]:
    """The outcomes of the requests of this load."""
    loop = asyncio.get_running_loop()
    tally = Tally()
    texts = requests(load.symbols, same=load.same)
    clients = [
        _Client(float("inf"), tally, load, lambda: next(texts)) for _ in range(load.connections)
    ]
    for first in range(0, len(clients), CONNECTING):
        together = clients[first : first + CONNECTING]
        await asyncio.gather(*(each.connect() for each in together))
    print("ready", flush=True)
    begin = float(await asyncio.to_thread(sys.stdin.readline))
    for client in clients:
        client.begin, client.end = begin, begin + load.seconds
    await asyncio.sleep(begin - time.monotonic())
    cpu = time.process_time()
    for number, client in enumerate(clients):
        loop.call_later(load.ramp * number / len(clients), client.ask)
    await asyncio.sleep(begin + load.seconds - time.monotonic())
    row = tally.as_row(load.seconds)
    cpu = time.process_time() - cpu
    for client in clients:
        client.transport.abort()
    return row | {"load_cpu_seconds": round(cpu, 2)}


if __name__ == "__main__":
    os.nice(NICE)
    print(json.dumps(uvloop.run(measure(Load(**json.loads(sys.argv[1]))))), flush=True)
