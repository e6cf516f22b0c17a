"""A client that sends raw bytes, and reads the answers.

It sends requests that a proper client would not send, and is cheap for normal requests.
"""

import asyncio
import socket
import struct
from types import TracebackType
from typing import NamedTuple, Self

LONGEST = 2**23  # bytes of a line of an answer: some answers repeat the request
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # linger for zero seconds: socket(7), SO_LINGER

# The ends of a conversation: the connection broke or was closed, or the bytes are not HTTP.
Lost = (OSError, EOFError, ValueError, asyncio.LimitOverrunError)


class Answer(NamedTuple):
    """An answer."""

    status: int
    head: bytes  # in lower case
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether it is the last answer of the connection (RFC 9112, section 9.6)."""
        return b"\r\nconnection: close" in self.head


class Connection:
    """A connection to a port of this machine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """A new connection.

        Raises:
            OSError: the connection fails.
        """
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=LONGEST))

    async def __aenter__(self) -> Self:
        """Returns the connection."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Closes it."""
        self.writer.close()

    async def send(self, data: bytes) -> None:
        """Sends these bytes, after the earlier bytes.

        Raises:
            OSError: the other side has closed the connection.
        """
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> Answer:
        """The next answer, to a request other than HEAD: RFC 9112, section 6.3.

        Raises:
            OSError, EOFError, ValueError, LimitOverrunError: the answer is incomplete or invalid.
        """
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head[9:12])  # HTTP/1.1 200: RFC 9112, section 4
        if b"\r\ntransfer-encoding: chunked" in head:
            return Answer(status, head, await self._chunks())
        _, found, rest = head.partition(b"\r\ncontent-length:")
        if found:
            body = await self.reader.readexactly(int(rest.partition(b"\r\n")[0]))
        else:
            body = b"" if status in {204, 304} else await self.reader.read()
        return Answer(status, head, body)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readuntil(b"\r\n")
        return body

    def close(self) -> None:
        """Closes it; sent bytes still arrive."""
        self.writer.close()

    def reset(self) -> None:
        """Resets it at once, like a client that crashes."""
        plain: socket.socket | None = self.writer.get_extra_info("socket")
        if plain is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.writer.transport.abort()


def request(
    method: str, path: str, *headers: str, body: bytes = b"", host: str = "localhost"
) -> bytes:
    """A request; it has the length of its body, unless a header sets the framing."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    names = {header.partition(":")[0].lower() for header in headers}
    if body and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(*parts: bytes) -> bytes:
    """A body in chunks (RFC 9112, section 7.1)."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
