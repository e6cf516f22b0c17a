"""Requests to small and large applications, of Flask under the engine and of FastAPI: see `growth`.

It runs under Valgrind. With `startup` in its command line it prints the seconds of an application's
start instead.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import uvloop
from fastapi import FastAPI, Request
from fastapi.responses import Response as PlainResponse
from fastapi.responses import StreamingResponse
from flask import Blueprint, Flask, Response, abort, request
from flask_asgi import FlaskToAsgi, Lifespan, _admission, on_loop, tuned_garbage_collector
from upstreams import Upstream

from .asgi_requests import Application, lifespan, scope
from .asgi_requests import request as ask
from .counting import Case, fork_each

URL = os.environ.get("BENCH_UPSTREAM", "http://127.0.0.1:1")

SIZES = {
    "routes": (10, 100, 1000),
    "paths": (10, 100, 1000),
    "blueprints": (1, 10, 100),
    "upstreams": (1, 10, 50),
    "received": (1_000, 10_000, 100_000, 1_000_000),
    "sent": (1_000, 10_000, 100_000, 1_000_000),
    "streams": (1, 10, 100, 1000),
}
WARM = 20  # requests before the counted requests
SAMPLE = 20  # routes with requests, spread evenly
Resource = Callable[[Flask], AbstractAsyncContextManager[Any]]
PARTS_SHARE = 10  # a stream has a part for every tenth request


# Routes: half of them fixed, half with a variable part; the requests cycle through them.


def path_of(number: int) -> str:
    """The path of the request with this number, to the route with this number."""
    return f"/group{number % 25}/thing{number}" + (f"/{number}" if number % 2 else "")


def flask_routes(size: int) -> Flask:
    """An application with `size` routes."""
    app = Flask(__name__)

    async def view(**_values: int) -> dict[str, bool]:
        return {"ok": True}

    for number in range(size):
        rule = f"/group{number % 25}/thing{number}" + ("/<int:key>" if number % 2 else "")
        app.add_url_rule(rule, f"view{number}", view)
    return app


def fastapi_routes(size: int) -> FastAPI:
    """The same in FastAPI."""
    app = FastAPI(openapi_url=None)

    async def view() -> dict[str, bool]:
        return {"ok": True}

    async def view_of(key: int) -> dict[str, bool]:  # noqa: ARG001 (Flask's view gets it too)
        return {"ok": True}

    for number in range(size):
        path = f"/group{number % 25}/thing{number}" + ("/{key}" if number % 2 else "")
        app.get(path)(view_of if number % 2 else view)
    return app


def flask_blueprints(size: int) -> Flask:
    """An application with `size` blueprints. Each has hooks and an error handler."""
    app = Flask(__name__)
    for number in range(size):
        blueprint = Blueprint(f"part{number}", __name__, url_prefix=f"/part{number}")
        blueprint.before_request(_before)
        blueprint.after_request(_after)
        blueprint.register_error_handler(418, _teapot)
        blueprint.add_url_rule("/", "view", _aborting)
        app.register_blueprint(blueprint)
    return app


@on_loop
def _before() -> None:
    """Do nothing."""


@on_loop
def _after(response: Response) -> Response:
    return response


@on_loop
def _teapot(_error: object) -> dict[str, bool]:
    return {"ok": True}


async def _aborting() -> dict[str, bool]:
    abort(418)


def flask_bodies() -> Flask:
    """An application that receives and sends bodies."""
    app = Flask(__name__)

    @app.post("/received")
    async def received() -> dict[str, int]:
        return {"bytes": len(request.get_data())}

    @app.get("/sent/<int:size>")
    async def sent(size: int) -> Response:
        return Response(bytes(size), content_type="application/octet-stream")

    @app.get("/stream/<int:parts>")
    async def stream(parts: int) -> AsyncIterator[bytes]:
        return _parts(parts)

    return app


def fastapi_bodies() -> FastAPI:
    """The same in FastAPI."""
    app = FastAPI(openapi_url=None)

    @app.post("/received")
    async def received(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.get("/sent/{size}")
    async def sent(size: int) -> PlainResponse:
        return PlainResponse(bytes(size), media_type="application/octet-stream")

    @app.get("/stream/{parts}")
    async def stream(parts: int) -> StreamingResponse:
        return StreamingResponse(_parts(parts))

    return app


async def _parts(number: int) -> AsyncIterator[bytes]:
    for _ in range(number):
        await asyncio.sleep(0)  # lets the other streams run
        yield bytes(1024)


@asynccontextmanager
async def _tuned(_app: Flask) -> AsyncIterator[None]:
    with tuned_garbage_collector():
        yield


def engine(app: Flask, *resources: Resource) -> FlaskToAsgi:
    """The application under the engine, with a service's setting of the collector."""
    return FlaskToAsgi(app, lifespan=Lifespan(*resources, _tuned))


def in_turn(
    made: Callable[[], Application], targets: list[str], *, method: str = "GET", body: bytes = b""
) -> Case:
    """Requests for these targets, one after another, repeatedly."""
    headers = [(b"content-length", b"%d" % len(body))] if body else []

    async def requests(number: int) -> None:
        application = made()
        scopes = [scope(method, target, *headers) for target in targets]
        async with lifespan(application):
            for turn in range(WARM):
                await ask(application, scopes[turn % len(scopes)], body)
            for turn in range(WARM, WARM + number):
                await ask(application, scopes[turn % len(scopes)], body)

    return lambda number: uvloop.run(requests(number))


def at_once(made: Callable[[], Application], size: int) -> Case:
    """`size` streams at once, each with a share of the number as its parts."""

    async def streams(number: int) -> None:
        # Valgrind makes everything fifty times slower, so admission would refuse most streams.
        _admission.LONG_WAIT = 3600
        application = made()
        of = scope("GET", f"/stream/{number // PARTS_SHARE}")
        async with lifespan(application):
            await ask(application, of)
            await asyncio.gather(*(ask(application, of) for _ in range(size)))

    return lambda number: uvloop.run(streams(number))


def upstream_calls(size: int) -> Case:
    """Requests whose view calls one of `size` upstreams, one after another."""

    def made() -> Application:
        upstreams = [Upstream(f"upstream{number}", URL) for number in range(size)]
        app = Flask(__name__)

        @app.get("/call/<int:number>")
        async def call(number: int) -> dict[str, object]:
            reply = await upstreams[number].get(f"/prices/{number}")
            return {"price": reply.json()["price"]}

        @asynccontextmanager
        async def opened(_app: Flask) -> AsyncIterator[None]:
            async with AsyncExitStack() as stack:
                for upstream in upstreams:
                    await stack.enter_async_context(upstream.open())
                yield

        return engine(app, opened)

    return in_turn(made, [f"/call/{number}" for number in range(size)])


ROUTED: dict[str, Callable[[int], Application]] = {
    "template": lambda size: engine(flask_routes(size)),
    "fastapi": fastapi_routes,
}
MOVING: dict[str, Callable[[], Application]] = {
    "template": lambda: engine(flask_bodies()),
    "fastapi": fastapi_bodies,
}


def cases() -> dict[str, Case]:
    """Every case by its peer, the growing quantity, and its size."""
    found: dict[str, Case] = {}
    for peer, routed in ROUTED.items():
        for size in SIZES["routes"]:
            targets = [path_of(number) for number in range(0, size, max(1, size // SAMPLE + 1))]
            found[f"{peer} routes {size}"] = in_turn(partial(routed, size), targets)
        for size in SIZES["paths"]:
            targets = [f"/group1/thing1/{number}" for number in range(size)]
            found[f"{peer} paths {size}"] = in_turn(partial(routed, 2), targets)
    for size in SIZES["blueprints"]:
        targets = [f"/part{number}/" for number in range(size)]
        found[f"template blueprints {size}"] = in_turn(partial(_blueprints, size), targets)
    for size in SIZES["upstreams"]:
        found[f"template upstreams {size}"] = upstream_calls(size)
    for peer, made in MOVING.items():
        for size in SIZES["received"]:
            received = in_turn(made, ["/received"], method="POST", body=bytes(size))
            found[f"{peer} received {size}"] = received
        for size in SIZES["sent"]:
            found[f"{peer} sent {size}"] = in_turn(made, [f"/sent/{size}"])
        for size in SIZES["streams"]:
            found[f"{peer} streams {size}"] = at_once(made, size)
    return found


def _blueprints(size: int) -> Application:
    return engine(flask_blueprints(size))


async def startup(peer: str, size: int) -> float:
    """The processor time, in seconds, to create and start an application with `size` routes."""
    began = time.process_time()
    async with lifespan(ROUTED[peer](size)):
        return time.process_time() - began


if __name__ == "__main__":
    if sys.argv[1:2] == ["startup"]:
        print(asyncio.run(startup(sys.argv[2], int(sys.argv[3]))))
    else:
        found = cases()
        fork_each({name: found[name] for name in sys.argv[1:] or found})
