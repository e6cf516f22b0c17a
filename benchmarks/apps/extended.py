"""The generated service with further views for the measurements, started like the service.

Its limits, logs, errors and `/prices` are unchanged. It runs with the environment of the baked
project.
"""

import asyncio
from collections.abc import AsyncIterator

from flask import Blueprint, Flask, Response, jsonify, request
from price_service import app as service
from price_service.settings import Settings

from .report import report as made_report

bp = Blueprint("extended", __name__)
marked: list[str] = []


@bp.get("/nothing")
async def nothing() -> dict[str, bool]:
    """Does nothing, on the event loop."""
    return {"ok": True}


@bp.get("/sync/nothing")
def sync_nothing() -> dict[str, bool]:
    """Does nothing, in a thread."""
    return {"ok": True}


@bp.post("/body")
async def body() -> dict[str, int]:
    """Reads the body, on the event loop."""
    return {"bytes": len(request.get_data())}


@bp.post("/sync/body")
def sync_body() -> dict[str, int]:
    """Reads the body, in a thread."""
    return {"bytes": len(request.get_data())}


@bp.post("/json")
async def json_body() -> Response:
    """Reads the body as JSON."""
    return jsonify(kind=type(request.get_json()).__name__)


@bp.post("/report")
async def report() -> Response:
    """Answers 2 KB of JSON with 10 KB."""
    return jsonify(made_report(request.get_json()))


@bp.get("/raises")
async def raises() -> str:
    """Fails like a view with a bug."""
    message = "a bug"
    raise RuntimeError(message)


@bp.get("/stream")
async def stream() -> AsyncIterator[bytes]:
    """Streams ten parts of a kilobyte."""
    for _ in range(10):
        yield bytes(1024)


@bp.get("/wait/<float:seconds>")
async def wait(seconds: float) -> dict[str, bool]:
    """Keeps the request in flight."""
    await asyncio.sleep(seconds)
    return {"ok": True}


@bp.get("/mark")
async def mark() -> dict[str, int]:
    """Counts its requests."""
    marked.append("")
    return {"marks": len(marked)}


def create_app(settings: Settings | None = None) -> Flask:
    """The service's application with these views."""
    app: Flask = create_plain_app(settings)
    app.register_blueprint(bp)
    return app


create_plain_app = service.create_app
service.create_app = create_app  # before `asgi` imports it

if __name__ == "__main__":
    from price_service.serve import main

    main()
else:
    from price_service.asgi import asgi

    __all__ = ["asgi"]
