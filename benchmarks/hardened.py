"""Measures the hardening of a view: a validated body of about 500 bytes, a token, a rate limit.

    python -m benchmarks.hardened [--instructions]

It measures the processor time of requests to each view, alternately, in one process. With
`--instructions` it runs each view under Valgrind twice and takes the difference, like
`instructions.py`. Only the decorators of the views differ: the plain view just parses the JSON. The
application `alone` has only the plain view; the others also have the parts for hardened views.
"""

import asyncio
import json
import math
import sys
import time
from typing import Annotated, Any

from flask import Flask, Response, current_app, request
from flask_asgi import FlaskToAsgi, StrictProvider, StrictRequest, on_loop
from flask_guards import (
    LOCAL_ISSUER,
    IssuerKeys,
    LocalIssuer,
    RateLimits,
    TokenVerifier,
    allowed_hosts,
    init_bearer,
    init_rate_limits,
    rate_limit,
    requires,
)
from pydantic import BaseModel, ConfigDict, Field
from typed_views import Body, typed

from .asgi_requests import request as make_request
from .asgi_requests import scope
from .instructions import environment, of_process
from .serving import HERE

FEW, MANY, TURNS = 100, 400, 100
VIEWS = (
    *("alone/plain", "typed/plain", "typed/response", "typed/typed"),
    *("hardened/plain", "hardened/token", "hardened/limit", "hardened/hardened"),
)
LINES = [{"symbol": f"ABC{number}", "quantity": number} for number in range(1, 14)]
BODY = json.dumps({"lines": LINES})
OFTEN = "1000000/second"  # no request exceeds the limit
ISSUER = LocalIssuer("hardened")
TOKEN = ISSUER.token(scopes=["write"])


class Line(BaseModel):
    """A line of the body."""

    model_config = ConfigDict(extra="forbid")

    symbol: Annotated[str, Field(pattern="^[A-Z][A-Z0-9.-]{0,9}$")]
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]


class Lines(BaseModel):
    """The body."""

    model_config = ConfigDict(extra="forbid")

    lines: Annotated[list[Line], Field(min_length=1, max_length=20)]


class Count(BaseModel):
    """The response."""

    count: int


def application(kind: str) -> Flask:
    """An application of a kind: alone, typed or hardened; each includes the kind before."""
    app = Flask("hardened")
    app.json, app.request_class = StrictProvider(app), StrictRequest

    app.add_url_rule("/plain", "plain", plain, methods=["POST"])
    if kind != "alone":
        add_typed_views(app)
    if kind == "hardened":
        add_guards(app)
        limited = rate_limit(OFTEN)
        views: dict[str, Any] = {
            "token": requires("write")(plain),
            "limit": limited(plain),
            "hardened": requires("write")(limited(app.view_functions["both"])),
        }
        for name, view in views.items():
            app.add_url_rule(f"/{name}", name, view, methods=["POST"])
    return app


async def plain() -> Response:
    """Parse the body and count its lines."""
    lines = request.get_json()["lines"]
    text = json.dumps({"count": len(lines)})
    return current_app.response_class(text, mimetype="application/json")


def add_typed_views(app: Flask) -> None:
    """Add a view with a typed response, and a view with a typed body too."""

    @app.post("/typed")
    @typed()
    async def both(body: Annotated[Lines, Body()]) -> Count:
        return Count(count=len(body.lines))

    @app.post("/response")
    @typed()
    async def response_only() -> Count:
        return Count(count=len(request.get_json()["lines"]))


def add_guards(app: Flask) -> None:
    """Add a service's parts for guarded views, and its check of the host."""
    keys = IssuerKeys(ISSUER.fetch)
    init_bearer(app, TokenVerifier(keys, issuer=LOCAL_ISSUER, audience="hardened"))
    init_rate_limits(app, RateLimits())
    app.before_request(on_loop(allowed_hosts(["127.0.0.1"])))


async def ask(application: FlaskToAsgi, path: str, number: int) -> None:
    """Makes `number` requests.

    Raises:
        RuntimeError: an answer is not 200.
    """
    body = BODY.encode()
    length = b"%d" % len(body)
    headers = (
        (b"content-type", b"application/json"),
        (b"content-length", length),
        (b"authorization", b"Bearer " + TOKEN.encode()),
    )
    of = scope("POST", path, *headers)
    for _ in range(number):
        await make_request(application, of, body)


def counted(view: str, number: int) -> int:
    """The instructions of a process that makes `number` requests and ends."""
    command = [sys.executable, "-m", "benchmarks.hardened", view, str(number)]
    return of_process(command, environment(HERE))


def instructions() -> dict[str, float]:
    """The instructions of a request to each view."""
    return {view: (counted(view, MANY) - counted(view, FEW)) / (MANY - FEW) for view in VIEWS}


def processor_time() -> dict[str, float]:
    """The microseconds of processor time of a request to each view: the best of many batches."""
    best = dict.fromkeys(VIEWS, math.inf)
    served = {view: asgi(view) for view in VIEWS}
    for _ in range(TURNS):
        for view, (application, path) in served.items():
            begun = time.process_time()
            asyncio.run(ask(application, path, FEW))
            best[view] = min(best[view], (time.process_time() - begun) / FEW * 1e6)
    return best


def asgi(view: str) -> tuple[FlaskToAsgi, str]:
    """The application of a view, and its path."""
    kind, _, name = view.partition("/")
    return FlaskToAsgi(application(kind)), f"/{name}"


if __name__ == "__main__":
    match sys.argv[1:]:
        case [view, number]:
            asyncio.run(ask(*asgi(view), int(number)))
        case ["--instructions"]:
            for view, each in instructions().items():
                print(f"{view:18} {each:12,.0f} instructions")
        case _:
            for view, each in processor_time().items():
                print(f"{view:18} {each:8.1f} us, {len(BODY)} bytes")
