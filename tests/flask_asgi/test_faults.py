"""A fault in a request ends that request only, not the server or another request."""

from collections.abc import Iterator

import pytest

from tests.serving import Server

from .probes import log_of, serve_application
from .wire import connect, get

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve_application() as server:
        yield server


@pytest.mark.parametrize("how", ["exit", "ctrl-c"])
@pytest.mark.parametrize(
    ("where", "status"),
    [
        ("async", 500),
        ("sync", 500),
        ("method-view", 500),
        ("decorated", 500),
        ("gathered", 500),
        ("task-group", 500),
        ("hook", 500),
        ("teardown", 500),
        ("background", 200),
        ("unattended-task", 200),
        ("stream-async", 200),
        ("stream-sync", 200),
    ],
)
async def test_sys_exit_ends_its_request_and_not_the_server(
    server: Server, where: str, status: int, how: str
) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/leave/{where}?how={how}")

        assert status == (await connection.head())[0]

    assert 200 == (await get(server.url, "/livez")).status


@pytest.mark.parametrize("kind", ["awaited", "gathered", "raised", "in-a-thread"])
async def test_a_stray_cancellation_is_a_500(server: Server, kind: str) -> None:
    async with connect(server.url) as connection:
        connection.send(f"/cancelled/{kind}", headers=f"X-Request-ID: {kind}\r\n")
        reply = await connection.reply()

    # Not 499, which is for a disconnect.
    assert (500, kind) == (reply.status, reply.headers["x-request-id"])
    assert 1 == (await log_of(server)).count(f"answered {kind} with ")
