"""An issuer of tokens, and a client of the application with guarded views in the test module."""

from collections.abc import AsyncIterator
from contextlib import suppress
from importlib import import_module
from typing import Any

import httpx
import pytest
from flask import Flask
from flask_asgi import FlaskToAsgi

from tests.loops import anyio_backend, blockbuster
from tests.properties import load_profile

from .issuer import Issuer

__all__ = ["anyio_backend", "blockbuster"]  # fixtures

load_profile()

# Imported here, not at first use: on an event loop, `blockbuster` would refuse their imports, which
# read files.
for name in ("redis.asyncio", "opentelemetry.context"):
    with suppress(ModuleNotFoundError):
        import_module(name)


@pytest.fixture
def issuer() -> Issuer:
    """Return an issuer with one key."""
    return Issuer()


@pytest.fixture
async def client(app: Flask) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of the application under the engine."""
    bridge: Any = FlaskToAsgi(app)
    transport = httpx.ASGITransport(bridge)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
