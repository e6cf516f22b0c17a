"""The fake upstream of these tests: on a real socket, it fails in the ways that upstreams do.

`serve()` answers by the path of each request: `/503` fails with that status, `/hang` is never
answered. `serve(reply)` answers every request with these bytes, or calls a function for it. In both
cases `FakeUpstream.plan` has priority for the next requests.

It is a protocol and does not use asyncio's streams, which leave a reference cycle for each
connection: some tests count the cycles of the client.
"""

import asyncio
import gzip
import re
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast

BODY = b'{"symbol": "AAPL", "price": 1.50}'
BOMB = 4 * 1024 * 1024  # bytes, which gzip compresses to about 4,000

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def http_reply(body: bytes = b"", *headers: str, status: int | str = 200) -> bytes:
    """Return a complete HTTP/1.1 reply; `status` may include a phrase."""
    if isinstance(status, int):
        status = f"{status} {HTTPStatus(status).phrase}"
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


OK = http_reply(BODY, "Content-Type: application/json")


class Connection(asyncio.Protocol):
    """A connection to the fake upstream, to which an answer writes."""

    def __init__(self, upstream: "FakeUpstream", answer: "bytes | Answer | None") -> None:
        self.transport: asyncio.Transport | None = None
        self._upstream = upstream
        self._answer = answer
        self._received = b""
        self._task: asyncio.Task[None] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()

    # Methods for answers

    def write(self, data: bytes) -> None:
        """Send some bytes, if the client is still connected."""
        if self.transport is not None:
            self.transport.write(data)

    async def drain(self) -> None:
        """Wait until the client has received the bytes."""
        await self._may_write.wait()
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError
        await asyncio.sleep(0)

    def reset(self) -> None:
        """End the connection with a reset (socket(7): a linger time of 0)."""
        if self.transport is not None:
            connection: socket.socket = self.transport.get_extra_info("socket")
            option = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
            self.transport.abort()

    def close(self) -> None:
        """End the connection, after the written bytes."""
        if self.transport is not None:
            self.transport.close()

    # Methods for the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's has another type
        self._upstream.connections += 1
        self._upstream.open.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        """Give up on the request that is being answered."""
        self._may_write.set()
        self.transport = None
        self._upstream.open.discard(self)
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """Have `drain` wait."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """Have `drain` go on."""
        self._may_write.set()

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self._received += data
        if self._task is None:
            self._next()

    def _next(self) -> None:
        while self._task is None and (request := _request(self._received)) is not None:
            head, body, self._received = request
            self._upstream.note(head, body)
            self._begin(head.split(" ", 2)[1].strip("/").partition("?")[0])

    def _begin(self, path: str) -> None:
        """Answer a request: at once if its answer is bytes, otherwise in a task."""
        answer: bytes | str | Answer = path if self._answer is None else self._answer
        if self._upstream.plan:
            answer = self._upstream.plan.popleft()
        if isinstance(answer, str):
            answer = _answer(answer)
        if isinstance(answer, bytes):
            self.write(answer)
        else:
            self._upstream.inside += 1
            self._task = asyncio.create_task(self._run(answer))

    async def _run(self, answer: "Answer") -> None:
        try:
            await answer(self)
        except ConnectionError:
            pass
        finally:
            self._upstream.inside -= 1
            self._task = None
        if answer is _held:
            self._next()
        else:
            self.close()


Answer = Callable[[Connection], Awaitable[object]]


@dataclass
class FakeUpstream:
    """The upstream's past requests, its planned answers, and its requests in flight."""

    base_url: str = ""
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    inside: int = 0
    open: set[Connection] = field(default_factory=set)
    plan: deque[bytes | str | Answer] = field(default_factory=deque)
    held: asyncio.Event = field(default_factory=asyncio.Event)  # set it to answer `/held`
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def requests(self) -> int:
        """How many requests it got."""
        return len(self.heads)

    @property
    def targets(self) -> list[str]:
        """Return the path and query of every request."""
        return [head.split(" ", 2)[1] for head in self.heads]

    def headers(self, name: str) -> list[str | None]:
        """Return the value of that header for every request, None where it had none."""
        found = [re.search(rf"(?im)^{re.escape(name)}:[ ]*(.*?)\r$", head) for head in self.heads]
        return [match and match[1] for match in found]

    def note(self, head: str, body: bytes) -> None:
        """Count a request."""
        self.heads.append(head)
        self.bodies.append(body)
        self.arrived.set()

    async def reached(self, requests: int) -> None:
        """Wait until it has got that many requests."""
        async with asyncio.timeout(20):
            while self.requests < requests:
                self.arrived.clear()
                await self.arrived.wait()


def _request(received: bytes) -> tuple[str, bytes, bytes] | None:
    """Return the head and body of the first request, and the rest; None if it is incomplete."""
    head, end, rest = received.partition(b"\r\n\r\n")
    if not end:
        return None
    if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
        return _chunked(head, rest)
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    length = int(found[1]) if found else 0
    if len(rest) < length:
        return None
    return (head + end).decode("latin-1"), rest[:length], rest[length:]


def _chunked(head: bytes, rest: bytes) -> tuple[str, bytes, bytes] | None:
    body = b""
    while True:
        size, end, rest = rest.partition(b"\r\n")
        length = int(size or b"0", 16)
        if not end or len(rest) < length + 2:
            return None
        body += rest[:length]
        rest = rest[length + 2 :]
        if not length:
            return (head + b"\r\n\r\n").decode("latin-1"), body, rest


def _answer(name: str) -> bytes | Answer:
    if name in _FAULTS:
        return _FAULTS[name]
    if name in _REPLIES:
        return _REPLIES[name]
    return http_reply(status=int(name)) if name.isdigit() else OK


async def hang(_: Connection) -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def hang_up(_: Connection) -> None:
    """Close the connection without a reply."""


async def _held(connection: Connection) -> None:
    await connection._upstream.held.wait()  # noqa: SLF001 - its own
    connection.write(OK)


async def _reset(connection: Connection) -> None:
    connection.reset()


async def _reset_in_the_body(connection: Connection) -> None:
    connection.write(OK[:-5])
    await asyncio.sleep(0.02)  # for the beginning to arrive by itself
    connection.reset()


async def truncate(connection: Connection) -> None:
    """Announce a longer body than is sent."""
    connection.write(OK[:-5])


async def _trickle(connection: Connection) -> None:
    connection.write(http_reply(b"x" * 100_000)[:-100_000])
    while True:
        connection.write(b"x")
        await connection.drain()
        await asyncio.sleep(0.01)


async def _endless(connection: Connection) -> None:
    connection.write(CHUNKED)
    while True:
        connection.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await connection.drain()


# Answers that end the connection, or never finish; only `held` leaves it open.
_FAULTS: dict[str, Answer] = {
    "hang": hang,
    "hang-up": hang_up,
    "held": _held,
    "reset": _reset,
    "reset-in-the-body": _reset_in_the_body,
    "truncate": truncate,
    "trickle": _trickle,
    "endless": _endless,
}

# Replies on a connection that stays open.
_REPLIES = {
    "huge": http_reply(b"x" * BOMB),
    "bomb": http_reply(gzip.compress(b"x" * BOMB), "Content-Encoding: gzip"),
    "gzip": http_reply(gzip.compress(BODY), "Content-Encoding: gzip"),
    "cut-gzip": http_reply(gzip.compress(BODY)[:-3], "Content-Encoding: gzip"),
    "br": http_reply(BODY, "Content-Encoding: br"),
    "not-http": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "bad-chunk": CHUNKED + b"no length\r\n",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "204-and-more": b"HTTP/1.1 204 No Content\r\n\r\nmore",
    "bad-location": http_reply(b"", "Location: http://[", status=302),
    "no-gzip": http_reply(BODY, "Content-Encoding: gzip"),
    "odd-phrase": b"HTTP/1.1 200 \xff\r\nContent-Length: 0\r\n\r\n",
    "try-now": http_reply(b"", "Retry-After: 0", status=429),
    "try-later": http_reply(b"", "Retry-After: 60", status=429),
}


@asynccontextmanager
async def serve(
    answer: bytes | Answer | None = None, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[FakeUpstream]:
    """Serve on a free port of the loopback until the block ends.

    Bytes leave the connection open; after a function has answered it is closed.
    """
    upstream = FakeUpstream()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(upstream, answer), "127.0.0.1", 0, ssl=tls
    )
    scheme = "https" if tls else "http"
    upstream.base_url = "{}://{}:{}".format(scheme, *server.sockets[0].getsockname())
    try:
        yield upstream
    finally:
        server.close()
        for connection in [*upstream.open]:
            if connection.transport is not None:
                connection.transport.abort()
        await server.wait_closed()
        while upstream.open:  # noqa: ASYNC110 - the loop closes each in its next turn
            await asyncio.sleep(0)


@asynccontextmanager
async def serve_silence() -> AsyncIterator[str]:
    """Serve a port that accepts connections and never sends a byte, not even of TLS."""
    transports: list[asyncio.BaseTransport] = []

    class Silent(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transports.append(transport)

    server = await asyncio.get_running_loop().create_server(Silent, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for transport in transports:
            transport.close()
        await server.wait_closed()
