"""The upstream of the generated service's example: it answers with the price of a symbol.

    python -m benchmarks.prices_upstream PORT [good|error|hang|gzip|gzip-gzip-gzip] [SECONDS]

It understands only GET on kept-alive connections, so it is never the bottleneck. A good answer
takes SECONDS, by default 0.05. An error is a 500 at once; `hang` never answers. The others answer
with few bytes that decode to very many: 100 MB, and 500 MB.
"""

import asyncio
import sys
import zlib
from typing import cast

import uvloop

MEGABYTES = {1: 100, 3: 500}  # of a bomb, by the number of its layers
BODY = '{"symbol":"%s","price":101.5}'


def symbol(request: bytes) -> str:
    """The last part of a request's path."""
    return request.split(b" ", 2)[1].rpartition(b"/")[2].decode("latin-1")


def reply(status: str, body: str | bytes, *headers: str) -> bytes:
    """A complete answer."""
    content = body.encode() if isinstance(body, str) else body
    length = f"Content-Length: {len(content)}"
    lines = (f"HTTP/1.1 {status}", "Content-Type: application/json", length, *headers)
    return "\r\n".join([*lines, "", ""]).encode() + content


def bomb(kind: str) -> bytes:
    """An answer that is far larger after decoding; empty for the other kinds."""
    if not kind.startswith("gzip"):
        return b""
    codings = kind.split("-")
    body = bytes(MEGABYTES[len(codings)] * 10**6)
    for _ in codings:
        packer = zlib.compressobj(9, wbits=31)  # gzip: zlib manual, deflateInit2
        body = packer.compress(body) + packer.flush()
    return reply("200 OK", body, f"Content-Encoding: {', '.join(codings)}")


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, kind: str, seconds: float, bomb: bytes) -> None:
        self.kind, self.seconds, self.bomb = kind, seconds, bomb

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.loop = asyncio.get_running_loop()
        self.unread = b""

    def data_received(self, data: bytes) -> None:
        *requests, self.unread = (self.unread + data).split(b"\r\n\r\n")
        for request in requests:
            name = symbol(request)
            if not request.startswith(b"GET /prices/"):  # a check whether the upstream is up
                self.send(reply("200 OK", "{}"))
            elif self.bomb:
                self.send(self.bomb)
            elif self.kind == "error":
                self.send(reply("500 Internal Server Error", "{}"))
            elif self.kind == "good":
                self.loop.call_later(self.seconds, self.send, reply("200 OK", BODY % name))

    def send(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)


async def serve(port: int, kind: str = "good", seconds: float = 0.05) -> None:
    """Serves until the process is killed."""
    loop = asyncio.get_running_loop()
    packed = bomb(kind)
    server = await loop.create_server(
        lambda: _Connection(kind, seconds, packed), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    port, kind, seconds = [*sys.argv[1:], *("good", "0.05")[len(sys.argv) - 2 :]]
    uvloop.run(serve(int(port), kind, float(seconds)))
