"""Requests run at the same time: proved with barriers in a real server, not with a stopwatch."""

import asyncio
from collections.abc import Iterator

import pytest

from .bridge_app import CLIENTS
from .serving import Server, serve
from .wire import get

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("tests.bridge_app:asgi") as server:
        yield server


@pytest.fixture(scope="module")
def plain_server() -> Iterator[Server]:
    with serve("tests.bridge_app:plain", "--lifespan", "off") as server:
        yield server


async def meet(server: Server, view: str, clients: int, patience: float) -> list[int]:
    """Return the statuses of ``clients`` requests, each of which waits until all are inside."""
    path = f"/meet/{view}?clients={clients}&patience={patience}"
    replies = await asyncio.gather(*(get(server.url, path) for _ in range(clients)))
    return [reply.status for reply in replies]


@pytest.mark.parametrize("view", ["async", "sync"])
async def test_a_hundred_requests_are_inside_the_view_at_once(server: Server, view: str) -> None:
    statuses = await meet(server, view, CLIENTS, patience=20)

    assert [200] * CLIENTS == statuses


@pytest.mark.parametrize("view", ["async", "sync"])
async def test_the_same_requests_never_meet_under_plain_wsgi_to_asgi(
    plain_server: Server, view: str
) -> None:
    # The published recipe. Should this fail one day, asgiref has lifted the limit by itself.
    statuses = await meet(plain_server, view, clients=20, patience=1)

    assert 504 in statuses
