"""Shared helpers of these tests: clients of the fake upstream, ports, and turns of the loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from upstreams import Upstream

from .fake_upstream import FakeUpstream


def free_port() -> int:
    """Return a port of the loopback on which no server listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


def connect(served: FakeUpstream, **policy: Any) -> Upstream:  # noqa: ANN401 - its options
    """Return a client of the served upstream that never retries."""
    usual: dict[str, Any] = {"timeout": 20, "max_connections": 10, "max_retries": 0}
    return Upstream("fake", served.base_url, **(usual | policy))


@asynccontextmanager
async def calling(served: FakeUpstream, **policy: Any) -> AsyncIterator[Upstream]:  # noqa: ANN401
    """Open a client of the served upstream with the usual retries."""
    upstream = connect(served, **({"max_retries": 2} | policy))
    async with upstream.open():
        yield upstream


def stubbed(transport: httpx.AsyncBaseTransport, **policy: Any) -> Upstream:  # noqa: ANN401
    """Return a client whose calls go to `transport`, and to no socket."""
    usual: dict[str, Any] = {"timeout": 20, "max_connections": 10}
    return Upstream("fake", "http://fake.invalid", transport=lambda: transport, **(usual | policy))
