"""HTTP/1.1 by hand over an asyncio connection, for tests that control when each byte is sent."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Reply:
    """A response with its whole body."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Connection:
    """One kept-alive connection to a server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, path: str, method: str = "GET", headers: str = "", body: bytes = b"") -> None:
        """Send a request; `headers` are whole lines, each with its line end."""
        if body:
            headers += f"Content-Length: {len(body)}\r\n"
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n"
        self.writer.write(head.encode("latin-1") + body)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Return status and headers of the next response, names in lower case."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.strip().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        return int(status_line.split()[1]), {name.lower(): value for name, value in pairs}

    async def chunk(self) -> bytes:
        """Return the next chunk of a chunked body; the last is empty."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def reply(self) -> Reply:
        """Return the next response whole. It ends at its last byte, not at a pause."""
        status, headers = await self.head()
        if headers.get("transfer-encoding") == "chunked":
            chunks = []
            while chunk := await self.chunk():
                chunks.append(chunk)
            return Reply(status, headers, b"".join(chunks))
        length = int(headers.get("content-length", 0))
        return Reply(status, headers, await self.reader.readexactly(length))


async def open_connection(url: str) -> Connection:
    """Return a connection to the server at `url`, for the caller to close."""
    address = urlsplit(url)
    return Connection(*await asyncio.open_connection(address.hostname, address.port))


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Connection]:
    """Open a connection to the server at `url` and close it at the end."""
    connection = await open_connection(url)
    try:
        yield connection
    finally:
        connection.writer.close()


async def get(url: str, path: str) -> Reply:
    """Return the response to one request on a new connection."""
    async with connect(url) as connection:
        connection.send(path)
        return await connection.reply()


async def get_json(url: str, path: str) -> Any:
    """Return the JSON of the response to a request."""
    return json.loads((await get(url, path)).body)


def announced(size: int, framing: str) -> str:
    """Return the header line of a body of this size, for the framing "length" or "chunked"."""
    if framing == "length":
        return f"Content-Length: {size}\r\n"
    return "Transfer-Encoding: chunked\r\n"


def framed(body: bytes, framing: str) -> bytes:
    """Return the bytes of a whole body (RFC 9112 section 7.1)."""
    return body if framing == "length" else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
