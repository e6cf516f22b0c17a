"""An upstream that fails: it refuses some calls, cuts off some, and never answers some.

It understands only GET on kept-alive connections. `/prices/...` is a call. `/fail/0.3` makes three
of ten calls fail from now on, and `/received` returns the number of calls since then.
"""

import asyncio
import random
import socket
import struct
import sys
from typing import Literal, cast

import uvloop

SEED = 1
FASTEST, SLOWEST = 0.01, 0.03  # seconds until a good answer, evenly distributed

Kind = Literal["refuse", "reset", "hang"]
KINDS: tuple[Kind, ...] = ("refuse", "reset", "hang")

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # linger for zero seconds: socket(7), SO_LINGER


class Faults:
    """The sequence of failing calls, the same for the same seed, and the number of calls."""

    def __init__(self, seed: int = SEED) -> None:
        self._random = random.Random(seed)  # noqa: S311 (no secret)
        self.share = 0.0
        self.received = 0

    def fail(self, share: float) -> None:
        """Lets this share of calls fail from now on, and restarts the count."""
        self.share, self.received = share, 0

    def next(self) -> Kind | None:
        """The failure of the next call, or None."""
        self.received += 1
        fails = self._random.random() < self.share
        return self._random.choice(KINDS) if fails else None

    def seconds(self) -> float:
        """The duration of a good answer."""
        return self._random.uniform(FASTEST, SLOWEST)


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, faults: Faults) -> None:
        self.faults = faults

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.unread = b""

    def data_received(self, data: bytes) -> None:
        *requests, self.unread = (self.unread + data).split(b"\r\n\r\n")
        for request in requests:
            self.answer(request.split(b" ", 2)[1].decode())

    def answer(self, path: str) -> None:
        match path.split("/"):
            case [_, "prices", _]:
                self.call()
            case [_, "fail", share]:
                self.faults.fail(float(share))
                self.reply("200 OK", share)
            case _:
                self.reply("200 OK", str(self.faults.received))

    def call(self) -> None:
        match self.faults.next():
            case "refuse":
                self.reply("503 Service Unavailable", "{}")
            case "reset":
                self.transport.abort()
            case "hang":
                pass
            case None:
                loop = asyncio.get_running_loop()
                loop.call_later(self.faults.seconds(), self.reply, "200 OK", '{"price":101}')

    def reply(self, status: str, body: str) -> None:
        if not self.transport.is_closing():
            head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n"
            self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())


async def serve(port: int) -> None:
    """Serves until the process is killed."""
    faults = Faults()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)  # inherited
    listener.bind(("127.0.0.1", port))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(faults), sock=listener, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
