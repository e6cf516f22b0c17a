"""Decorators that leave an async view on the loop, send it to a thread, or break it.

`decorators.toml` has the answers, docs/extensions.md shows them, and `decorated.py` makes the
applications.
"""

import asyncio
import gc
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask_asgi import async_to_sync, on_loop

from tests.serving import wait_until

from . import decorated
from .decorated import ANSWER, MADE, Watched
from .live import PATIENCE, live
from .tables import DECORATORS

pytestmark = pytest.mark.heavy

PATH = "/sizes?size=7"
LONG = 2.0  # seconds


def rows(runs: str) -> list[str]:
    """The names of the applications whose view runs there."""
    return [name for name, row in DECORATORS.items() if row["runs"] == runs]


working = pytest.mark.parametrize(
    "name", [name for name, row in DECORATORS.items() if row["runs"] != "broken"]
)


def modules(name: str) -> list[str]:
    """The module whose hooks never block, if the row names it."""
    return [DECORATORS[name]["module"]] if "module" in DECORATORS[name] else []


def natively(app: Watched) -> int:
    """The status of the response of Flask without a server."""
    return app.test_client().get(PATH, headers=app.headers).status_code


def test_every_application_has_a_row() -> None:
    assert [*DECORATORS] == [*MADE]


@working
def test_a_view_runs_where_the_table_says(name: str) -> None:
    native, app = MADE[name](), MADE[name]()
    with live(app) as server:
        response = server.get(PATH, headers=app.headers)

    assert natively(native) == 200
    assert response.json() == ANSWER
    assert app.places == ["loop" if DECORATORS[name]["runs"] == "loop" else "thread"]


@pytest.mark.parametrize("name", rows("broken"))
def test_a_broken_view_is_never_awaited_under_any_server(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    native, app = MADE[name](), MADE[name]()
    # A log record would keep the view's coroutine alive after this test.
    monkeypatch.setattr(app.logger, "disabled", True)

    def under_any_server() -> list[int]:
        with live(app) as server:
            statuses = [natively(native), server.get(PATH, headers=app.headers).status_code]
        gc.collect()
        return statuses

    with pytest.warns(RuntimeWarning, match="never awaited") as warned:
        statuses = under_any_server()

    assert statuses == [500, 500]
    assert len(warned) == 2


@pytest.mark.parametrize("name", rows("broken"))
def test_decorators_that_break_async_views_work_for_sync_views(name: str) -> None:
    assert natively(MADE[name](decorated.sync_view)) == 200


@pytest.mark.parametrize("name", rows("hook"))
def test_hooks_that_never_block_leave_a_view_on_the_loop(name: str) -> None:
    app = MADE[name]()
    with live(app, on_loop=modules(name)) as server:
        response = server.get(PATH, headers=app.headers)

    assert response.json() == ANSWER
    assert app.places == ["loop"]


@pytest.mark.parametrize("name", rows("thread"))
def test_an_outermost_mark_keeps_a_view_on_the_loop(name: str) -> None:
    native, app = MADE[name](outer=on_loop), MADE[name](outer=on_loop)
    with live(app, on_loop=modules(name)) as server:
        response = server.get(PATH, headers=app.headers)

    assert natively(native) == 200
    assert response.json() == ANSWER
    assert app.places == ["loop"]


@pytest.mark.parametrize("name", rows("broken"))
def test_async_to_sync_innermost_lets_a_decorator_work(name: str) -> None:
    view = async_to_sync(decorated.view)
    native, app = MADE[name](view), MADE[name](view)
    with live(app) as server:
        response = server.get(PATH, headers=app.headers)

    assert natively(native) == 200
    assert response.json() == ANSWER


# Cancellation also reaches a view in a thread


class Waiting:
    """A view with a long wait, and a record of its end."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.ended: list[str] = []

    async def view(self, *_args: Any, **_values: Any) -> dict[str, int]:
        self.entered.set()
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("by itself")
        return ANSWER


def waiting_view(waiting: Waiting) -> Any:
    """The view, as a function."""

    async def view(*args: Any, **values: Any) -> dict[str, int]:
        return await waiting.view(*args, **values)

    return view


@working
def test_a_request_timeout_cancels_a_view(name: str) -> None:
    waiting = Waiting()
    app = MADE[name](waiting_view(waiting))
    with live(app, request_timeout=LONG / 10) as server:
        status = server.get(PATH, headers=app.headers).status_code

    assert status == 504
    assert waiting.ended in (["cancelled"], [])  # empty if the view never began


@working
def test_a_client_disconnect_cancels_a_view(name: str) -> None:
    waiting = Waiting()
    app = MADE[name](waiting_view(waiting))
    with live(app) as server:
        host, port = urlsplit(server.server.url).netloc.split(":")
        lines = [f"GET {PATH} HTTP/1.1", "Host: x", *map(": ".join, app.headers.items()), "", ""]
        with socket.create_connection((host, int(port))) as client:
            client.sendall("\r\n".join(lines).encode())
            assert waiting.entered.wait(PATIENCE)
        wait_until(lambda: waiting.ended, PATIENCE)

    assert waiting.ended == ["cancelled"]
