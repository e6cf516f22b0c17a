"""asgiref's `async_to_sync`, called directly or captured early, runs on the server's loop too."""

import asyncio
import warnings
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from asgiref.sync import async_to_sync
from flask import Flask, Response, g, jsonify
from flask_asgi import FlaskToAsgi, RunningServer

from .live import Live, live

with warnings.catch_warnings():  # from Starlette's test client, which connexion imports
    warnings.simplefilter("ignore")
    import connexion

pytestmark = pytest.mark.heavy


async def which_loop() -> int:
    """The event loop of this coroutine, after a wait."""
    await asyncio.sleep(0)
    return id(asyncio.get_running_loop())


def loop_of(server: RunningServer) -> int:
    """The event loop of the server."""
    return server.run(which_loop())


# A framework that calls `ensure_sync` at registration


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_async_error_processor_of_apiflask_answers(kind: str) -> None:
    app: Any = APIFlask(__name__)  # its types know no async functions

    @app.error_processor
    async def process(error: Any) -> Any:
        return {"loop": await which_loop()}, error.status_code, error.headers

    def sync() -> None:
        app.aborter(418)

    async def asynchronous() -> None:
        app.aborter(418)

    app.get("/")({"sync": sync, "async": asynchronous}[kind])
    with live(app) as server:
        response = server.get("/")
        expected = loop_of(server.server)

    assert response.status_code == 418
    assert response.json() == {"loop": expected}


def test_an_async_spec_processor_of_apiflask_answers_an_async_view() -> None:
    """A view of the service returns the document."""
    app: Any = APIFlask(__name__)  # its types know no async functions

    @app.spec_processor
    async def process(spec: Any) -> Any:
        await asyncio.sleep(0)
        spec["info"]["title"] = "processed"
        return spec

    @app.get("/title")
    async def title() -> str:
        return str(app._get_spec("json")["info"]["title"])  # noqa: SLF001 - what /openapi.json calls

    with live(app) as server:
        assert server.get("/title").text == "processed"


# `async_to_sync` by itself


def make_app() -> Flask:
    """An application whose hooks call `async_to_sync`, with a view of each kind."""
    app = Flask(__name__)
    captured = async_to_sync(which_loop)

    @app.before_request
    def before() -> None:
        g.loops = [captured(), async_to_sync(which_loop)()]

    @app.get("/sync")
    def sync() -> list[int]:
        return [*g.loops, captured()]

    @app.get("/async")
    async def asynchronous() -> list[int]:
        return [*g.loops, await which_loop()]

    @app.after_request
    def after(response: Response) -> Response:
        return jsonify([*(response.get_json() or []), captured()])

    return app


@pytest.mark.parametrize("path", ["/sync", "/async"])
def test_async_to_sync_in_a_hook_runs_on_the_servers_loop(path: str) -> None:
    with live(make_app()) as server:
        response = server.get(path)
        expected = loop_of(server.server)

    assert response.status_code == 200
    assert response.json() == [expected] * 4


@pytest.mark.parametrize("path", ["/sync", "/async"])
def test_async_to_sync_works_as_in_asgiref_outside_of_a_server(path: str) -> None:
    app = make_app()
    FlaskToAsgi(app)

    response = app.test_client().get(path)

    assert response.status_code == 200
    assert len(response.get_json()) == 4


def test_async_to_sync_refuses_to_block_a_plain_loop() -> None:
    """No server of Flask runs on this loop."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match="AsyncToSync"):
            async_to_sync(which_loop)()

    FlaskToAsgi(Flask(__name__))
    asyncio.run(main())


# connexion, which makes each handler sync

SPECIFICATION = {
    "openapi": "3.0.0",
    "info": {"title": "loops", "version": "1"},
    "paths": {
        "/loop": {
            "get": {
                "operationId": "loop",
                "responses": {"200": {"description": "Which loop the handler runs on."}},
            }
        }
    },
}


async def loop_handler() -> dict[str, int]:
    return {"loop": await which_loop()}


def through_the_engine(app: connexion.FlaskApp) -> Any:
    """The application, with `FlaskToAsgi` in place of connexion's own bridge."""
    app._middleware_app.asgi_app = FlaskToAsgi(app.app)  # noqa: SLF001 - as the document says
    return app


def ask_for_loop(server: Live) -> tuple[set[int], int]:
    """The loops of three requests one after another, and the loop of the server."""
    return {server.get("/loop").json()["loop"] for _ in range(3)}, loop_of(server.server)


def test_async_handlers_of_connexion_run_on_the_servers_loop(tmp_path: Path) -> None:
    app = connexion.FlaskApp(__name__, specification_dir=tmp_path)
    app.add_api(SPECIFICATION, resolver=connexion.Resolver(lambda _: loop_handler))
    with live(through_the_engine(app)) as server:
        loops, expected = ask_for_loop(server)

    assert loops == {expected}
