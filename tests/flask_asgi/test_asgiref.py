"""Code that calls asgiref's `async_to_sync` directly waits for the server's loop."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import AsyncToSync, async_to_sync
from flask import Flask
from flask_asgi import FlaskToAsgi, _asgiref

from .asgi_client import ask, both_kinds, http_scope, on_both_paths

pytestmark = pytest.mark.anyio

ORIGINAL = getattr(AsyncToSync.__call__, "__wrapped__", AsyncToSync.__call__)


@pytest.fixture(autouse=True)
def _undo() -> Iterator[None]:
    yield
    _asgiref.unteach()


async def which_loop() -> int:
    """Return the loop that runs here."""
    await asyncio.sleep(0)
    return id(asyncio.get_running_loop())


@on_both_paths
async def test_a_call_in_a_request_waits_for_the_loop_of_the_server(app: Flask, path: str) -> None:
    both_kinds(app, lambda: str(async_to_sync(which_loop)()))

    assert await ask(app, http_scope(path)) == (200, str(await which_loop()).encode())


@on_both_paths
async def test_a_function_made_before_the_bridge_waits_for_the_loop_of_the_server(
    app: Flask, path: str
) -> None:
    captured = app.ensure_sync(which_loop)
    both_kinds(app, lambda: str(captured()))

    assert await ask(app, http_scope(path)) == (200, str(await which_loop()).encode())


async def test_a_hook_may_call_async_to_sync_before_an_async_view(app: Flask) -> None:
    loops: list[int] = []

    @app.before_request
    def before() -> None:
        loops.append(async_to_sync(which_loop)())

    both_kinds(app, lambda: "ok")

    assert await ask(app, http_scope("/async")) == (200, b"ok")
    assert loops == [await which_loop()]


@on_both_paths
async def test_an_error_of_async_code_is_raised_in_sync_code(app: Flask, path: str) -> None:
    async def fail() -> None:
        raise LookupError

    def view() -> str:
        with pytest.raises(LookupError):
            async_to_sync(fail)()
        return "raised"

    both_kinds(app, view)

    assert await ask(app, http_scope(path)) == (200, b"raised")


@on_both_paths
async def test_force_new_loop_never_uses_the_loop_of_the_server(app: Flask, path: str) -> None:
    def view() -> str:
        try:
            return str(async_to_sync(which_loop, force_new_loop=True)())
        except RuntimeError:  # asgiref cannot do so in a thread with a running loop
            return "refused"

    both_kinds(app, view)
    status, body = await ask(app, http_scope(path))

    assert status == 200
    assert (body == b"refused") is (path == "/async")
    assert body != str(await which_loop()).encode()


def test_outside_a_request_async_to_sync_still_works(app: Flask) -> None:
    FlaskToAsgi(app)

    assert async_to_sync(which_loop)() != 0
    with app.test_request_context():
        assert app.ensure_sync(which_loop)() != 0


@pytest.mark.parametrize("times", [1, 2])
def test_async_to_sync_is_replaced_once_and_can_be_restored(app: Flask, times: int) -> None:
    for _ in range(times):
        FlaskToAsgi(app)
    taught: Any = AsyncToSync.__call__

    assert taught.__wrapped__ is ORIGINAL
    _asgiref.unteach()
    assert AsyncToSync.__call__ is ORIGINAL
    _asgiref.unteach()
    assert AsyncToSync.__call__ is ORIGINAL


def test_async_to_sync_can_be_left_unchanged(app: Flask) -> None:
    FlaskToAsgi(app, teach_asgiref=False)

    assert AsyncToSync.__call__ is ORIGINAL
