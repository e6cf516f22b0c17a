"""An upstream on a real socket that fails in the ways that upstreams do, and counts what it gets.

The path of a request says what becomes of it: `/503` fails with that status, `/hang` is never
answered. `FaultyUpstream.plan` says it for the requests to come, whatever their path.
"""

import asyncio
import gzip
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus

BODY = b'{"symbol": "AAPL", "price": 1.50}'
BOMB = 4 * 1024 * 1024  # bytes, of which gzip makes some 4,000

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class FaultyUpstream:
    """What the upstream saw, what it is to do, and how many requests are inside it."""

    base_url: str = ""
    heads: list[str] = field(default_factory=list)
    connections: int = 0
    inside: int = 0
    plan: deque[str] = field(default_factory=deque)
    held: asyncio.Event = field(default_factory=asyncio.Event)  # set, it lets `/held` go on
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def requests(self) -> int:
        """How many requests it got."""
        return len(self.heads)

    async def reached(self, requests: int) -> None:
        """Wait until it has got that many requests."""
        async with asyncio.timeout(5), self.arrived:
            await self.arrived.wait_for(lambda: self.requests >= requests)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection until it ends."""
        goes_on = True
        while goes_on and (head := await reader.readuntil(b"\r\n\r\n")):
            self.heads.append(head.decode())
            async with self.arrived:
                self.arrived.notify_all()
            path = head.split(b" ", 2)[1].decode().strip("/").partition("?")[0]
            self.inside += 1
            try:
                goes_on = await self._answer(path, reader, writer)
            finally:
                self.inside -= 1

    async def _answer(
        self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer, and tell whether the connection can go on."""
        fault = self.plan.popleft() if self.plan else path
        if fault == "hang":
            await reader.read()  # until the client gives up
            return False
        if fault in _FAULTS:
            await _FAULTS[fault](writer)
            return False
        if fault == "held":
            await self.held.wait()
        if fault.isdigit():
            writer.write(reply(b"", status=int(fault)))
        else:
            writer.write(_REPLIES.get(fault, reply()))
        await writer.drain()
        return True


def reply(body: bytes = BODY, *headers: str, status: int = 200) -> bytes:
    """Return a complete HTTP/1.1 reply of JSON, unless `headers` say what else it is."""
    kind = [] if any("Content-Type" in header for header in headers) else ["application/json"]
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Content-Length: {len(body)}",
        *(f"Content-Type: {each}" for each in kind),
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def _hang_up(_: asyncio.StreamWriter) -> None:
    """Close the connection without a word."""


async def _reset(writer: asyncio.StreamWriter) -> None:
    # Closed with a linger time of 0, a connection is reset (socket(7)); else it would just end.
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _reset_in_the_body(writer: asyncio.StreamWriter) -> None:
    writer.write(reply()[:-5])
    await writer.drain()
    await asyncio.sleep(0.02)  # for the beginning to arrive by itself
    await _reset(writer)


async def _truncate(writer: asyncio.StreamWriter) -> None:
    writer.write(reply()[:-5])


async def _trickle(writer: asyncio.StreamWriter) -> None:
    writer.write(reply(b"x" * 1000)[:-1000])
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def _endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()


# What ends the connection, or never does.
_FAULTS: dict[str, Answer] = {
    "hang-up": _hang_up,
    "reset": _reset,
    "reset-in-the-body": _reset_in_the_body,
    "truncate": _truncate,
    "trickle": _trickle,
    "endless": _endless,
}

# What is sent on a connection that stays open.
_REPLIES = {
    "huge": reply(b"x" * BOMB),
    "bomb": reply(gzip.compress(b"x" * BOMB), "Content-Encoding: gzip"),
    "html": reply(b"<h1>It works!</h1>", "Content-Type: text/html"),
    "not-json": reply(b"{'price': 1}"),
    "not-http": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "bad-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n",
    "odd-phrase": b"HTTP/1.1 200 \xff\r\nContent-Length: 0\r\n\r\n",
    "try-now": reply(b"", "Retry-After: 0", status=429),
    "try-later": reply(b"", "Retry-After: 60", status=429),
}


@asynccontextmanager
async def serve_faulty(tls: ssl.SSLContext | None = None) -> AsyncIterator[FaultyUpstream]:
    """Serve on a free port of the loopback until the block ends."""
    upstream = FaultyUpstream()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await upstream.serve(reader, writer)
        writer.close()

    def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream.connections += 1
        task = asyncio.create_task(connected(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    upstream.base_url = "{}://{}:{}".format(scheme, *server.sockets[0].getsockname())
    try:
        yield upstream
    finally:
        server.close()
        for task in [*tasks]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


@asynccontextmanager
async def serve_silence() -> AsyncIterator[str]:
    """Serve a port that accepts connections and never says a word, not even of TLS."""
    writers: list[asyncio.StreamWriter] = []

    def on_connection(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.gather(*(each.wait_closed() for each in writers), return_exceptions=True)
        await server.wait_closed()
