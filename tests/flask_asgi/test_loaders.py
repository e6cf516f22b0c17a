"""Flask-Login's user loaders run in a thread when an async view looks at the user."""

import asyncio
import threading
from typing import Any

import pytest
from flask import Flask
from flask_asgi import FlaskToAsgi, on_loop
from flask_login import (
    LoginManager,
    UserMixin,
    current_user,
    login_user,
)

from .asgi_client import ask, http_scope, messages

pytestmark = pytest.mark.anyio

CLIENTS = 10


class User(UserMixin):  # type: ignore[misc] # untyped
    """A user."""

    def __init__(self, number: str) -> None:
        self.id = number


@pytest.mark.parametrize("registered", ["before", "after"])
async def test_loaders_of_several_requests_run_concurrently(app: Flask, registered: str) -> None:
    barrier = threading.Barrier(CLIENTS)
    manager = LoginManager(app)
    loop_thread = threading.get_ident()

    def load(number: str) -> User:
        assert threading.get_ident() != loop_thread
        barrier.wait(20)
        return User(number)

    if registered == "before":
        manager.user_loader(load)
    bridge: Any = FlaskToAsgi(app)
    if registered == "after":
        manager.user_loader(load)
        await start(bridge)

    @app.get("/login")
    async def login() -> str:
        login_user(User("1"))
        return "in"

    @app.get("/")
    async def view() -> str:
        await asyncio.sleep(0)
        return str(current_user.id)

    start_message, *_ = await messages(bridge, http_scope("/login"))
    cookies = [value for name, value in start_message["headers"] if name == b"set-cookie"]
    scope = http_scope("/", (b"cookie", cookies[0].partition(b";")[0]))
    answers = await asyncio.gather(*(ask(bridge, scope) for _ in range(CLIENTS)))

    assert answers == [(200, b"1")] * CLIENTS


async def start(bridge: FlaskToAsgi) -> None:
    """Let a server start and stop."""
    phases = iter(["startup", "shutdown"])

    async def receive() -> Any:
        return {"type": f"lifespan.{next(phases)}"}

    async def send(_message: Any) -> None:
        pass

    await bridge({"type": "lifespan"}, receive, send)  # type: ignore[arg-type]


def test_a_marked_loader_is_not_wrapped(app: Flask) -> None:
    @on_loop
    def load(number: str) -> User:
        return User(number)

    manager = LoginManager(app)
    manager.user_loader(load)
    FlaskToAsgi(app)

    assert manager._user_callback is load  # noqa: SLF001 - Flask-Login calls it
