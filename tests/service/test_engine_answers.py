"""The engine's own responses are problems with an id, and have a line in the access log."""

import asyncio
import json
import sys
from typing import Any

import httpx
import pytest
from flask import Flask
from flask_asgi import FlaskToAsgi

from price_service import logs
from price_service.settings import Settings


class SlowBody(httpx.AsyncByteStream):
    """A body that never arrives."""

    async def __aiter__(self) -> Any:
        await asyncio.Event().wait()
        yield b""


SLOW: dict[str, Any] = {"content": SlowBody(), "headers": {"Content-Length": "9"}}


@pytest.fixture
def served(app: Flask, settings: Settings, unchanged_logging: None) -> Flask:  # noqa: ARG001 - only its effect is needed
    """Return the application with JSON logs, and with views that never answer."""
    logs.configure(settings.model_copy(update={"log_format": "json"}))
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.route("/hang", methods=["GET", "POST"])
    async def hang() -> str:
        await asyncio.Event().wait()
        return "never"

    @app.get("/leave")
    async def leave() -> str:
        sys.exit("this is the end")

    return app


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "asked", "limits"),
    [
        (408, {"method": "POST", "url": "/hang", **SLOW}, {"request_timeout": 0.3}),
        (500, {"method": "GET", "url": "/leave"}, {}),
        (503, {"method": "GET", "url": "/hang"}, {"max_in_flight": 0}),
        (504, {"method": "GET", "url": "/hang"}, {"request_timeout": 0.3}),
    ],
)
async def test_an_engine_response_is_a_problem_and_one_log_line(
    served: Flask,
    capsys: pytest.CaptureFixture[str],
    status: int,
    asked: dict[str, Any],
    limits: dict[str, Any],
) -> None:
    transport = httpx.ASGITransport(FlaskToAsgi(served, **limits))  # type: ignore[arg-type] # httpx's own types
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        client.headers["X-Request-ID"] = "its-id"
        response = await client.request(**asked)

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"] == response.json()["request_id"] == "its-id"
    written = map(json.loads, capsys.readouterr().err.splitlines())
    access = [line for line in written if line["logger"] == logs.access.name]
    assert [(line["status"], line["request_id"]) for line in access] == [(status, "its-id")]
