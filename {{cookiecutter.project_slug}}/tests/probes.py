"""What the tests of requests and of responses ask of a server of `http_app`."""

import json
import os
from pathlib import Path

import pytest

from .serving import Server
from .wire import get

# uvicorn's parsers and event loops: each parser with one loop covers both.
SERVERS = {
    "httptools-uvloop": ("--http", "httptools", "--loop", "uvloop"),
    "h11-asyncio": ("--http", "h11", "--loop", "asyncio"),
}

BODY_MIB = int(os.environ.get("BODY_MIB", "64"))
GROWTH_KIB = 24 * 1024  # of a server's memory, while it takes or sends that much
PARTS = BODY_MIB * 16  # of 64 KiB

needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")


async def held(server: Server) -> dict[str, int]:
    """Return what the server's process holds: tasks, files, memory and so on."""
    figures: dict[str, int] = json.loads((await get(server.url, "/held")).body)
    return figures


async def event(server: Server, name: str) -> int:
    """Return how often the event has happened."""
    return int((await get(server.url, f"/event/{name}")).body)
