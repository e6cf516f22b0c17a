"""An upstream on a real socket that says exactly what a test wants, byte for byte."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawUpstream:
    """What the upstream saw: the head of every request, and the number of its connections."""

    base_url: str = ""
    heads: list[str] = field(default_factory=list)
    connections: int = 0
    replies: deque[bytes] = field(default_factory=deque)  # the first ones, before the usual


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a complete HTTP/1.1 reply."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@asynccontextmanager
async def serve_raw(reply: bytes | Reply) -> AsyncIterator[RawUpstream]:
    """Serve on a free port of the loopback until the block ends.

    Every request gets the bytes of `reply` on a connection that stays open, or is left to it as a
    callable, after which the connection is closed.
    """
    upstream = RawUpstream()
    writers: set[asyncio.StreamWriter] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream.connections += 1
        writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                upstream.heads.append(head.decode())
                if callable(reply):
                    await reply(writer)
                    break
                writer.write(upstream.replies.popleft() if upstream.replies else reply)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    upstream.base_url = "http://{}:{}".format(*server.sockets[0].getsockname())
    try:
        yield upstream
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.gather(*(w.wait_closed() for w in writers), return_exceptions=True)
        await server.wait_closed()
