"""Requests to a server of `application` for its objects and its events."""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.serving import PATIENCE, Server, serve

from .wire import get, get_json

APPLICATION = "tests.flask_asgi.application"

# Our own server with the fast parser and loop, and uvicorn's command with the slower ones.
SERVERS = {
    "httptools-uvloop": (APPLICATION,),
    "h11-asyncio": (f"{APPLICATION}:asgi", "--http", "h11", "--loop", "asyncio", "--no-access-log"),
}

BODY_MIB = int(os.environ.get("BODY_MIB", "32"))  # of an upload or a stream in a test of memory
GROWTH_KIB = 12 * 1024  # the growth of a server's memory that is allowed meanwhile
PARTS = BODY_MIB * 16  # of 64 KiB

needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")


@contextmanager
def serve_application(
    *flags: str, target: str = APPLICATION, env: Mapping[str, str] | None = None, **options: Any
) -> Iterator[Server]:
    """Serve the application with our own server; `options` are those of its `OPTIONS`."""
    own = {"ENGINE_OPTIONS": json.dumps(options)}
    with serve(target, *flags, env={**own, **(env or {})}) as server:
        yield server


async def held(server: Server) -> dict[str, int]:
    """Return the counts of the server's objects: tasks, files, memory and so on."""
    figures: dict[str, int] = await get_json(server.url, "/held")
    return figures


async def event(server: Server, name: str) -> int:
    """Return how often the event has happened."""
    return int((await get(server.url, f"/event/{name}")).body)


async def until_event(server: Server, name: str, times: int = 1) -> None:
    """Wait until the event has happened that often."""
    async with asyncio.timeout(PATIENCE):
        while await event(server, name) < times:  # noqa: ASYNC110 - remote
            await asyncio.sleep(0.01)


async def until_in_flight(server: Server, requests: int) -> None:
    """Wait until that many requests are in flight, besides the request of this function."""
    async with asyncio.timeout(PATIENCE):
        while int((await get(server.url, "/in-flight")).body) != requests + 1:  # noqa: ASYNC110 - remote
            await asyncio.sleep(0.01)


async def settled(server: Server, name: str, more_than: int = 0) -> int:
    """Return how often the event has happened, once the count stays the same."""
    async with asyncio.timeout(PATIENCE):
        before, now = 0, await event(server, name)
        while now <= more_than or before != now:
            await asyncio.sleep(0.05)
            before, now = now, await event(server, name)
    return now


async def log_of(server: Server) -> str:
    """Return the server's output, read without blocking this loop."""
    return await asyncio.to_thread(lambda: server.log)
