"""Features that need a real server with one loop: background tasks, streams, resources."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus

import pytest
from flask import Flask
from flask_asgi import serve_in_thread

from {{ cookiecutter.package_name }}.app import create_asgi
from {{ cookiecutter.package_name }}.parts import parts

from .conftest import LiveClient

Resource = Callable[[Flask], AbstractAsyncContextManager[None]]


def test_background_work_continues_after_the_response(app: Flask, live_client: LiveClient) -> None:
    answered, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await answered.wait()
        done.set()

    @app.post("/orders")
    async def order() -> str:
        parts().background.start(work())
        return "accepted"

    assert live_client.post("/orders").text == "accepted"
    live_client.run(_set(answered))
    live_client.run(asyncio.wait_for(done.wait(), timeout=10))


def test_a_stream_is_sent_part_by_part(app: Flask, live_client: LiveClient) -> None:
    received = asyncio.Event()

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "first"
        await received.wait()
        yield "second"

    with live_client.stream("GET", "/stream") as response:
        streamed = response.iter_text()
        assert next(streamed) == "first"
        live_client.run(_set(received))
        assert next(streamed) == "second"


async def _set(event: asyncio.Event) -> None:
    event.set()


def test_requests_of_the_service_need_no_thread(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    # If a call blocks the loop, `blockbuster` fails the test.
    with (
        caplog.at_level(logging.INFO),
        serve_in_thread(create_asgi(app)) as server,
        LiveClient(server) as client,
    ):
        assert client.get("/livez").status_code == HTTPStatus.OK
        assert client.get("/absent").status_code == HTTPStatus.NOT_FOUND

    assert [line for line in caplog.messages if "may block" in line] == []


def test_a_view_that_fails_gives_a_problem(app: Flask, live_client: LiveClient) -> None:
    app.add_url_rule("/broken", view_func=lambda: str(1 / 0))

    response = live_client.get("/broken")

    assert response.status_code == 500
    assert response.headers["Content-Type"] == "application/problem+json"


class Database:
    """A resource that works only on the loop on which it was opened."""

    loop: asyncio.AbstractEventLoop | None = None

    @asynccontextmanager
    async def open(self, _app: Flask) -> AsyncIterator[None]:
        self.loop = asyncio.get_running_loop()
        yield
        self.loop = None

    async def fetch(self) -> str:
        assert asyncio.get_running_loop() is self.loop
        return "a row"


class TestDatabase:
    """Tests of views that need a resource, which is opened before the first request."""

    @pytest.fixture
    def database(self) -> Database:
        return Database()

    @pytest.fixture
    def app(self, app: Flask, database: Database) -> Flask:
        parts(app).lifespan.add(database.open)
        app.add_url_rule("/row", view_func=database.fetch)
        return app

    def test_a_view_uses_the_database(self, live_client: LiveClient) -> None:
        assert live_client.get("/row").text == "a row"

    def test_a_test_uses_the_database(self, live_client: LiveClient, database: Database) -> None:
        assert live_client.run(database.fetch()) == "a row"


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
