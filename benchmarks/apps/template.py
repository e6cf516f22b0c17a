"""Flask served by this template's engine."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from flask import Flask
from flask_asgi import FlaskToAsgi, tuned_garbage_collector

from .flask_app import app
from .upstream_calls import opened
from .work import THREADS


@asynccontextmanager
async def lifespan(_app: Flask) -> AsyncIterator[None]:
    """Starts like the generated service."""
    async with opened():
        with tuned_garbage_collector():
            yield


asgi = FlaskToAsgi(app, lifespan=lifespan, threads=THREADS)
