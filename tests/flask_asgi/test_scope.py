"""Each request has a different scope, the same on the loop and in its thread."""

import asyncio
import threading

import pytest
from flask import Flask
from flask_asgi import FlaskToAsgi, in_thread, request_scope

from .asgi_client import ask, http_scope

pytestmark = pytest.mark.anyio


async def test_each_request_has_one_scope_in_all_its_parts(app: Flask) -> None:
    barrier = asyncio.Barrier(10)
    scopes: dict[str, set[object]] = {}

    def note(number: str) -> None:
        scopes.setdefault(number, set()).add(request_scope())

    @app.url_value_preprocessor
    def before(_endpoint: str | None, values: dict[str, str] | None) -> None:
        assert values
        note(values["number"])

    @app.get("/<number>")
    async def view(number: str) -> str:
        note(number)
        await barrier.wait()
        in_thread(note)(number)
        await asyncio.to_thread(note, number)
        await asyncio.create_task(asyncio.to_thread(note, number))
        return "ok"

    bridge = FlaskToAsgi(app)
    await asyncio.gather(*(ask(bridge, http_scope(f"/{number}")) for number in range(10)))

    assert {number: len(each) for number, each in scopes.items()} == {
        str(number): 1 for number in range(10)
    }
    assert len(set.union(*scopes.values())) == 10


def test_outside_a_request_the_scope_is_the_thread() -> None:
    found: list[object] = [request_scope(), request_scope()]
    thread = threading.Thread(target=lambda: found.append(request_scope()))
    thread.start()
    thread.join()

    assert found[0] == found[1] != found[2]
