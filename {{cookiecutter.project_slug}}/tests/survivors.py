"""Counts what calls leave for the collector of cyclic garbage."""

import asyncio
import gc
import gzip
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from upstreams._deadline import DeadlineExceeded
from upstreams._errors import UpstreamError
from upstreams._upstream import Upstream

REPEATS = 30
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n" + b'{"symbol": "AAPL", "price": 1.50}'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BOMB = gzip.compress(bytes(1_000_000))


def reply(status: int, body: bytes = b"", *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Such", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


REPLIES = {
    "200": OK,
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "204-and-more": b"HTTP/1.1 204 No Content\r\n\r\nmore",
    "302": reply(302),
    "404": reply(404),
    "429": reply(429, b"", "Retry-After: 60"),
    "500": reply(500),
    "503": reply(503),
    "no-http": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "no-price": reply(200, b"{}"),
    "large": reply(200, bytes(20_000)),
    "bomb": reply(200, BOMB, "Content-Encoding: gzip"),
    "gzip": reply(200, gzip.compress(b"hello"), "Content-Encoding: gzip"),
    "cut-gzip": reply(200, gzip.compress(b"hello")[:-3], "Content-Encoding: gzip"),
    "br": reply(200, b"hello", "Content-Encoding: br"),
    "bad-chunk": CHUNKED + b"no length\r\n",
}
ENDS = {
    "hang-up": b"",
    "truncated": OK[:-5],
    "cut-chunks": CHUNKED + b"5\r\nhel",
    "reset": None,
}


class _Connection(asyncio.Protocol):
    """Answers by the path. It leaves no cycle behind, as asyncio's streams do."""

    transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by its type

    def connection_lost(self, _: Exception | None) -> None:
        self.transport = None

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        path = data.split(b" ", 2)[1].decode().rpartition("/")[2].partition("?")[0]
        if path in REPLIES:
            self.transport.write(REPLIES[path])
        elif path in ENDS:
            if (last := ENDS[path]) is None:
                self.transport.abort()
            else:
                self.transport.write(last)
                self.transport.close()


@asynccontextmanager
async def calling(**policy: Any) -> AsyncIterator[Upstream]:
    """Serve the upstream, and open a client of it."""
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0)
    url = "http://{}:{}".format(*server.sockets[0].getsockname())
    usual: dict[str, Any] = {
        "timeout": 5,
        "max_connections": 50,
        "max_response_bytes": 10_000,
        "breaker_failures": 10**9,
    }
    upstream = Upstream("prices", url, **(usual | policy))
    try:
        async with upstream.open():
            yield upstream
    finally:
        server.close()


async def left_by(call: Callable[[], Awaitable[object]]) -> Counter[str]:
    """Return what only the collector frees after `REPEATS` calls, by type.

    The least of three rounds: a cycle that a coincidence leaves once is none that piles up.
    """
    rounds = [await _left_by(call)]
    while rounds[-1].total() >= REPEATS and len(rounds) < 3:
        rounds.append(await _left_by(call))
    return rounds[-1]


async def _left_by(call: Callable[[], Awaitable[object]]) -> Counter[str]:

    async def repeat(times: int) -> None:
        for _ in range(times):
            with suppress(UpstreamError, DeadlineExceeded, asyncio.CancelledError):
                await call()
        for _ in range(20):  # what the loop has still to do, such as closing a connection
            await asyncio.sleep(0)

    await repeat(3)
    gc.collect()
    gc.freeze()  # what was there before is none of it, and takes long to look at
    gc.disable()
    try:
        await repeat(REPEATS)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return Counter(type(each).__qualname__ for each in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.unfreeze()


def assert_nothing(left: Counter[str]) -> None:
    assert left.total() < REPEATS, f"left for the collector: {left.most_common(12)}"
