"""Resources are opened in order before the first request, and closed in reverse after the last."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from flask import Flask
from flask_asgi import FlaskToAsgi, Lifespan, Resource
from hypothesis import given
from hypothesis import strategies as st


class Log:
    """Makes resources, and records their events in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []
        self.apps: list[Flask] = []

    def resource(self, number: int, *, fails_to: str = "") -> Resource:
        """Return a resource that notes when it opens and closes."""

        @asynccontextmanager
        async def resource(app: Flask) -> AsyncIterator[None]:
            self.apps.append(app)
            if fails_to == "open":
                raise OSError(number)
            self.events.append(("open", number))
            try:
                yield
            finally:
                self.events.append(("close", number))
            if fails_to == "close":
                raise OSError(number)

        return resource


app = Flask(__name__)


async def keep_open(lifespan: Lifespan) -> None:
    async with lifespan(app):
        pass


@given(number=st.integers(0, 6), times=st.integers(1, 3))
def test_resources_open_in_order_and_close_in_reverse_each_time(number: int, times: int) -> None:
    log = Log()
    lifespan = Lifespan(*(log.resource(each) for each in range(number // 2)))
    for each in range(number // 2, number):
        lifespan.add(log.resource(each))

    for _ in range(times):
        asyncio.run(keep_open(lifespan))

    once = [("open", each) for each in range(number)]
    once += [("close", each) for each in reversed(range(number))]
    assert once * times == log.events
    assert {app} >= set(log.apps)


@given(number=st.integers(1, 6), data=st.data())
def test_a_failed_resource_leaves_no_other_resource_open(number: int, data: st.DataObject) -> None:
    failing = data.draw(st.integers(0, number - 1))
    fails_to = data.draw(st.sampled_from(["open", "close"]))
    log = Log()
    lifespan = Lifespan()
    for each in range(number):
        lifespan.add(log.resource(each, fails_to=fails_to if each == failing else ""))

    with pytest.raises(OSError, match=str(failing)):
        asyncio.run(keep_open(lifespan))

    opened = [number for event, number in log.events if event == "open"]
    closed = [number for event, number in log.events if event == "close"]
    assert list(range(failing if fails_to == "open" else number)) == opened
    assert opened == closed[::-1]


def test_add_is_a_decorator() -> None:
    lifespan, events = Lifespan(), []

    @lifespan.add
    @asynccontextmanager
    async def database(_app: Flask) -> AsyncIterator[None]:
        events.append("opened")
        yield

    asyncio.run(keep_open(lifespan))

    assert events == ["opened"]
    assert isinstance(database(app), AbstractAsyncContextManager)


@pytest.mark.parametrize("wrong", [None, "database", Log().resource(1)(app)])
def test_a_resource_that_is_not_a_function_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="a resource is a function that takes the Flask app"):
        Lifespan().add(wrong)


def test_a_resource_that_is_added_after_the_start_is_refused() -> None:
    lifespan = Lifespan()

    async def add_late() -> None:
        async with lifespan(app):
            lifespan.add(Log().resource(1))

    with pytest.raises(RuntimeError, match="the application has started"):
        asyncio.run(add_late())
    lifespan.add(Log().resource(1))


def test_a_failed_resource_fails_the_startup_of_an_application() -> None:
    log = Log()
    asgi = FlaskToAsgi(app, lifespan=Lifespan(log.resource(1), log.resource(2, fails_to="open")))
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(asgi({"type": "lifespan"}, receive, send))  # type: ignore[arg-type]

    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert log.events == [("open", 1), ("close", 1)]
