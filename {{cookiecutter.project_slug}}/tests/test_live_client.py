"""Features that need a real server with one loop: background tasks, streams, resources."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
from flask import Flask
from flask_asgi import serve_in_thread

from {{ cookiecutter.package_name }}.app import create_asgi
from {{ cookiecutter.package_name }}.parts import parts

from .conftest import LiveClient


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
