"""The upstream that the generated service's example calls: the price of the symbol it is asked for.

    python -m benchmarks.prices_upstream PORT [good|error|hang] [SECONDS]

It understands GET on kept-alive connections and nothing more, so that it is never what limits. A
good answer takes SECONDS, 0.05 unless given. An error is a 500 at once; who hangs never answers.
"""

import asyncio
import sys
from typing import cast

import uvloop

BODY = '{"symbol":"%s","price":101.5}'


def symbol(request: bytes) -> str:
    """The last part of the path that a request asks for."""
    return request.split(b" ", 2)[1].rpartition(b"/")[2].decode("latin-1")


def reply(status: str, body: str) -> bytes:
    """A whole answer."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return f"{head}\r\n\r\n{body}".encode()


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, kind: str, seconds: float) -> None:
        self.kind, self.seconds = kind, seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.loop = asyncio.get_running_loop()
        self.unread = b""

    def data_received(self, data: bytes) -> None:
        *requests, self.unread = (self.unread + data).split(b"\r\n\r\n")
        for request in requests:
            name = symbol(request)
            if not request.startswith(b"GET /prices/"):  # whether it is up
                self.send(reply("200 OK", "{}"))
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
    server = await loop.create_server(
        lambda: _Connection(kind, seconds), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    port, kind, seconds = [*sys.argv[1:], *("good", "0.05")[len(sys.argv) - 2 :]]
    uvloop.run(serve(int(port), kind, float(seconds)))
