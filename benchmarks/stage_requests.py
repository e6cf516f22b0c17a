"""Requests to the whole generated service, whose duties are removed one by one: see `stages`.

It runs in the environment of a bake, under Valgrind. The variable `BENCH_UPSTREAM` has the
upstream's URL.
"""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import aiohttp
import uvloop
from flask import Flask, Response, jsonify
from flask_asgi import FlaskToAsgi, on_loop
from price_service import app as service
from price_service.clients.prices import PricesClient
from price_service.settings import load_settings
from upstreams import Upstream, fan_out

from tests.serving import PRODUCTION

from .asgi_requests import Application, Message, lifespan, request, scope
from .counting import Case, fork_each

URL = os.environ.get("BENCH_UPSTREAM", "http://127.0.0.1:1")
SYMBOLS = ("AAPL", "GOOG", "MSFT")
SCOPES = {
    "livez": scope("GET", "/livez"),
    "prices": scope("GET", "/prices?" + "&".join(f"symbol={each}" for each in SYMBOLS)),
}

# As in the image: production, with metrics. A successful probe is logged at DEBUG only, so both
# requests write their access line at this level.
VARIABLES = {
    **PRODUCTION,
    "LOG_LEVEL": "DEBUG",
    "METRICS_PORT": "9464",
    "PRICES__BASE_URL": URL,
    # Under Valgrind and on a busy machine, a call may take seconds.
    "PRICES__DEADLINE_SECONDS": "60",
    "PRICES__TIMEOUT_SECONDS": "60",
}
SECONDS = 60  # also for calls outside of the service


def _without_part(part: str) -> None:
    """Replace a part of the service by a no-op when the application is made."""
    getattr(service, part).init_app = lambda *_: None


def _without_deadlines() -> None:
    """Read no caller's deadline."""
    service.init_deadlines = lambda *_, **__: None


def _without_hooks(app: Flask) -> None:
    for hooks in (app.before_request_funcs, app.after_request_funcs, app.teardown_request_funcs):
        hooks.clear()


def _without_strictness(app: Flask) -> None:
    app.json, app.request_class = Flask.json_provider_class(app), Flask.request_class


# The changes that remove each duty, in order: variables, a change before the application is made,
# and a change of the application.
Absence = tuple[dict[str, str], Callable[[], None] | None, Callable[[Flask], None] | None]
DUTIES: dict[str, Absence] = {
    "access line": ({"LOG_LEVEL": "WARNING"}, None, None),
    "metrics": ({"METRICS_PORT": "0"}, None, None),
    "ids": ({}, partial(_without_part, "logs"), None),
    "budget": ({}, _without_deadlines, None),
    "problems": ({}, partial(_without_part, "problems"), None),
    "hooks": ({}, None, _without_hooks),
    "strictness": ({}, None, _without_strictness),
}


def served(target: str, absent: int) -> Case:
    """Requests to the service without the first `absent` duties."""

    def case(number: int) -> None:
        variables = dict(VARIABLES)
        changes = []
        for settings, before, after in list(DUTIES.values())[:absent]:
            variables |= settings
            if before is not None:
                before()
            if after is not None:
                changes.append(after)
        os.environ.update(variables)
        settings_read = load_settings()
        _configure_logs(settings_read)
        app = service.create_app(settings_read)
        for change in changes:
            change(app)
        uvloop.run(_ask(service.create_asgi(app), SCOPES[target], number))

    return case


def _configure_logs(settings: Any) -> None:  # noqa: ANN401 (a bake's types are unknown here)
    from price_service import logs  # noqa: PLC0415 (its `init_app` may have been taken away)

    logs.configure(settings)


async def _ask(application: Application, of: Message, number: int) -> None:
    async with lifespan(application):
        for _ in range(number):
            await request(application, of)


async def bare(_scope: Message, receive: Any, send: Any) -> None:  # noqa: ANN401 (ASGI)
    """Answers like `/livez`, without any layer between."""
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"19")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"status":"alive"}\n', "more_body": False})


@on_loop
def wsgi(_environ: dict[str, Any], start_response: Any) -> list[bytes]:  # noqa: ANN401 (WSGI)
    """The same in WSGI."""
    headers = [("Content-Type", "application/json"), ("Content-Length", "19")]
    start_response("200 OK", headers)
    return [b'{"status":"alive"}\n']


def flask_app() -> Flask:
    """The same in plain Flask."""
    app = Flask(__name__)

    @app.get("/livez")
    async def livez() -> Response:
        return jsonify(status="alive")

    return app


def bare_case(number: int) -> None:
    """Requests to a bare ASGI function: the cost of the requests themselves."""

    async def ask() -> None:
        for _ in range(number):
            await request(bare, SCOPES["livez"])

    uvloop.run(ask())


def engine_case(number: int) -> None:
    """Requests to a WSGI function that the engine serves."""
    app = flask_app()
    vars(app)["wsgi_app"] = wsgi
    uvloop.run(_ask(FlaskToAsgi(app), SCOPES["livez"], number))


def flask_case(number: int) -> None:
    """Requests to Flask that the engine serves."""
    uvloop.run(_ask(FlaskToAsgi(flask_app()), SCOPES["livez"], number))


# The same three calls, with more and more layers.


def calls(opened: Callable[[], Any]) -> Case:
    """Three calls at once for each request; `opened` yields the function that makes them."""

    async def call(number: int) -> None:
        async with opened() as three:
            for _ in range(number):
                await three()

    return lambda number: uvloop.run(call(number))


@asynccontextmanager
async def by_aiohttp() -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """By plain aiohttp."""
    async with aiohttp.ClientSession(URL) as session:

        async def get(symbol: str) -> object:
            async with session.get(f"/prices/{symbol}") as reply:
                reply.raise_for_status()
                return await reply.json()

        yield lambda: asyncio.gather(*map(get, SYMBOLS))


@asynccontextmanager
async def by_upstream(*, fans_out: bool = False, **options: Any) -> AsyncIterator[Any]:  # noqa: ANN401
    """By `Upstream` with these options, gathered or with `fan_out`."""
    upstream = Upstream("prices", URL, timeout=SECONDS, **options)
    async with upstream.open():

        async def get(symbol: str) -> object:
            return (await upstream.get(f"/prices/{symbol}")).json()

        if fans_out:
            yield lambda: fan_out(get, SYMBOLS, deadline=SECONDS, max_concurrency=10)
        else:
            yield lambda: asyncio.gather(*map(get, SYMBOLS))


@asynccontextmanager
async def by_client() -> AsyncIterator[Any]:
    """By the service's client of the upstream, which checks the replies."""
    client = PricesClient(Upstream("prices", URL, timeout=SECONDS))
    async with client.upstream.open():
        yield lambda: fan_out(client.price, SYMBOLS, deadline=SECONDS, max_concurrency=10)


@contextmanager
def quiet() -> Iterator[None]:
    """Hides the log lines of a block; they are all written at its end."""
    kept = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        yield
        logging.shutdown()
    finally:
        os.dup2(kept, 2)


def _quietly(case: Case) -> Case:
    def run(number: int) -> None:
        with quiet():
            case(number)

    return run


CASES: dict[str, Case] = {
    "bare": bare_case,
    "engine": engine_case,
    "flask": flask_case,
    "calls aiohttp": calls(by_aiohttp),
    "calls plain": calls(partial(by_upstream, coalesce=False, max_retries=0)),
    "calls upstream": calls(by_upstream),
    "calls fan_out": calls(partial(by_upstream, fans_out=True)),
    "calls client": calls(by_client),
} | {
    f"{target} {absent}": _quietly(served(target, absent))
    for target in SCOPES
    for absent in range(len(DUTIES) + 1)
}

if __name__ == "__main__":
    chosen = sys.argv[1:] or list(CASES)
    fork_each({name: CASES[name] for name in chosen})
