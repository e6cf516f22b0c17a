"""The objects that a greenlet keeps while its request waits."""

import asyncio

import pytest
from flask import Flask
from flask_asgi import FlaskToAsgi
from flask_asgi._greenlets import PausableCall, current_call

from .asgi_client import ask, http_scope

# The most stack of a waiting view, as a multiple of an idle greenlet's stack. CPython 3.11 to 3.13
# took 2.9 times as much with an object and a `functools.partial` in between, and takes 2 without.
MOST_STACK = 2.4


class Waiting:
    """The call of the waiting view, and the event that ends its wait."""

    def __init__(self) -> None:
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()
        self.call: PausableCall | None = None


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


@pytest.fixture
def app(waiting: Waiting) -> Flask:
    """Return an application whose view waits."""
    app = Flask(__name__)

    @app.get("/")
    async def view() -> str:
        waiting.call = current_call()
        waiting.begun.set()
        await waiting.may_end.wait()
        return "ended"

    return app


@pytest.mark.anyio
async def test_a_waiting_request_keeps_little_of_the_c_stack(app: Flask, waiting: Waiting) -> None:
    idle = PausableCall.started()
    async with asyncio.TaskGroup() as group:
        group.create_task(ask(FlaskToAsgi(app), http_scope()))
        await waiting.begun.wait()
        await asyncio.sleep(0)  # it is paused now
        assert waiting.call is not None
        kept = waiting.call._stack_saved  # type: ignore[attr-defined] # noqa: SLF001 - for debugging
        waiting.may_end.set()

    assert kept <= MOST_STACK * idle._stack_saved  # type: ignore[attr-defined] # noqa: SLF001
