"""Resources open before the first request and close after background work."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from flask import Flask
from flask_asgi import serve_in_thread

from price_service.app import create_asgi
from price_service.parts import parts

Resource = Callable[[Flask], AbstractAsyncContextManager[None]]


def noting(name: str, noted: list[str], *, fails: bool = False) -> Resource:
    """Return a resource that records the process's readiness when it opens and closes."""

    @asynccontextmanager
    async def resource(app: Flask) -> AsyncIterator[None]:
        if fails:
            message = "the certificate has expired"
            raise OSError(message)
        noted.append(f"{name} opens, {parts(app).readiness.state.value}")
        try:
            yield
        finally:
            noted.append(f"{name} closes, {parts(app).readiness.state.value}")

    return resource


def test_resources_open_in_order_and_close_in_reverse_after_background_work(app: Flask) -> None:
    noted: list[str] = []
    draining = asyncio.Event()
    parts(app).lifespan.add(noting("first", noted))
    parts(app).lifespan.add(noting("second", noted))

    async def work() -> None:
        await draining.wait()
        noted.append("the work ends")

    async def start() -> None:
        parts(app).background.start(work())
        asyncio.get_running_loop().call_soon(draining.set)

    with serve_in_thread(create_asgi(app)) as server:
        server.run(start())
        assert parts(app).readiness.state.value == "ready"

    assert noted == [
        "first opens, starting",
        "second opens, starting",
        "the work ends",
        "second closes, draining",
        "first closes, draining",
    ]


def test_a_failing_resource_closes_earlier_resources_and_stops_the_start(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    noted: list[str] = []
    parts(app).lifespan.add(noting("first", noted))
    parts(app).lifespan.add(noting("second", noted, fails=True))

    with pytest.raises(RuntimeError), serve_in_thread(create_asgi(app)):
        pass

    assert noted == ["first opens, starting", "first closes, starting"]
    # uvicorn repeats the line; `logs.configure` drops the repetition.
    reasons = {line for line in caplog.messages if "the certificate has expired" in line}
    assert reasons == {"startup failed: OSError: the certificate has expired"}
