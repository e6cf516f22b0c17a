"""A typed view stays async or sync, and other views have no extra cost."""

import asyncio
import inspect
import threading
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import pytest
from flask import Flask, Response, url_for
from flask.testing import FlaskClient
from flask_asgi import FlaskToAsgi, serve_in_thread
from pydantic import TypeAdapter
from typed_views import Body, Query, typed
from typed_views import _inputs as inputs
from typed_views import _outputs as outputs

from . import shop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def test_typed_keeps_a_view_async_or_sync(app: Flask) -> None:
    views = app.view_functions

    assert inspect.iscoroutinefunction(views["shop.place_order"])
    assert not inspect.iscoroutinefunction(views["shop.item"])
    assert inspect.iscoroutinefunction(shop.Things.get)
    assert not inspect.iscoroutinefunction(shop.Things.delete)


def test_a_view_without_typed_is_unchanged(app: Flask) -> None:
    assert app.view_functions["shop.untyped"] is shop.untyped


def test_a_view_keeps_its_name_docstring_and_url(app: Flask) -> None:
    assert shop.place_order.__name__ == "place_order"
    assert (shop.place_order.__doc__ or "").startswith("Place an order.")
    with app.test_request_context():
        assert url_for("shop.place_order", shop=3) == "/shops/3/orders"


def test_async_views_run_concurrently_on_the_loop_and_sync_views_in_threads(app: Flask) -> None:
    barrier = asyncio.Barrier(2)
    threads = []

    @app.post("/meet")
    @typed()
    async def meet(number: Annotated[int, Body()]) -> int:
        threads.append(threading.current_thread())
        await barrier.wait()
        return number

    @app.get("/sync")
    @typed()
    def sync(number: Annotated[int, Query()]) -> int:
        threads.append(threading.current_thread())
        return number

    async def both(url: str) -> list[int]:
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            meeting = (client.post("/meet", json=number) for number in (1, 2))
            replies = [*await asyncio.gather(*meeting), await client.get("/sync?number=3")]
        return [int(reply.json()) for reply in replies]

    with serve_in_thread(FlaskToAsgi(app)) as server:
        assert asyncio.run(both(server.url)) == [1, 2, 3]

    assert threads[0] is threads[1]
    assert threads[0] is not threads[2]


def test_an_async_view_gets_a_large_body(app: Flask) -> None:
    numbers = [float(number) for number in range(60_000)]

    with serve_in_thread(FlaskToAsgi(app)) as server:
        url = f"{server.url}/things/00000000-0000-0000-0000-000000000000"
        response = httpx.put(url, json=numbers, timeout=20)

    assert response.json() == 3.0


def test_a_method_view_can_have_typed_methods(client: FlaskClient) -> None:
    url = "/things/00000000-0000-0000-0000-000000000001"

    assert client.get(url).get_json() == url.rpartition("/")[2]
    assert client.put(url, json=[1, 2.5]).get_json() == 3.5
    assert client.delete(url).status_code == 204


def test_a_request_builds_no_schema(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        pytest.fail("a schema is made for a request")

    monkeypatch.setattr(TypeAdapter, "__init__", fail)
    monkeypatch.setattr(inputs, "get_type_hints", fail)
    monkeypatch.setattr(inputs, "create_model", fail)
    monkeypatch.setattr(outputs, "get_type_hints", fail)

    body = {"items": [{"sku": "TEA", "quantity": 1}]}
    assert client.post("/shops/1/orders", json=body).status_code == 201
    assert client.post("/shops/1/orders", json={}).status_code == 422
    assert client.get("/things?tag=A").status_code == 200


def test_a_type_checker_sees_the_types() -> None:
    """Mypy reports every unneeded `ignore`: `make lint` is the test."""

    async def wrong() -> shop.Item:
        return "an item"  # type: ignore[return-value]

    is_async: Callable[..., Coroutine[Any, Any, Response]] = shop.place_order
    is_sync: Callable[..., Response] = shop.item
    no_sync: Callable[..., Response] = shop.place_order  # type: ignore[assignment]
    no_async: Callable[..., Coroutine[Any, Any, Response]] = shop.item  # type: ignore[assignment]

    assert all((typed()(wrong), is_async, is_sync, no_sync, no_async))
