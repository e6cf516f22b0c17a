"""The order in which the parts of a worker start and stop."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from flask import Flask
from flask_asgi import Background, Lifespan, Readiness, State, serving


def test_a_worker_starts_and_stops_its_parts_in_order(app: Flask) -> None:
    readiness, background, events = Readiness(), Background(), list[str]()

    @asynccontextmanager
    async def resource(_: Flask) -> AsyncIterator[None]:
        events.append(f"opens, {readiness.state.value}")
        yield
        events.append(f"closes, {readiness.state.value}")

    async def work() -> None:
        await readiness.until_draining()
        events.append(f"the task ends, {readiness.state.value}")

    async def main() -> None:
        async with lifespan(app):
            events.append(f"serves, {readiness.state.value}")
            background.start(work())
            await asyncio.sleep(0)

    readiness.ready()
    lifespan = serving(Lifespan(resource), background, readiness, delay=0, grace=5)
    assert readiness.state is State.STARTING
    thresholds = gc.get_threshold()
    asyncio.run(main())

    assert events == [
        "opens, starting",
        "serves, ready",
        "the task ends, draining",
        "closes, draining",
    ]
    assert gc.get_threshold() == thresholds


def test_a_task_that_does_not_end_is_cancelled_after_the_grace(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    background = Background()

    async def main() -> None:
        lifespan = serving(Lifespan(), background, Readiness(), delay=0, grace=0.01)
        async with lifespan(app):
            background.start(asyncio.Event().wait())

    asyncio.run(main())

    assert any("did not end within 0.01 s" in line for line in caplog.messages)


def test_a_worker_whose_resource_fails_is_never_ready(app: Flask) -> None:
    readiness = Readiness()

    @asynccontextmanager
    async def resource(_: Flask) -> AsyncIterator[None]:
        message = "no connection"
        raise OSError(message)
        yield

    async def main() -> None:
        async with serving(Lifespan(resource), Background(), readiness, delay=0, grace=1)(app):
            pass

    with pytest.raises(OSError, match="no connection"):
        asyncio.run(main())
    assert readiness.state is State.STARTING
