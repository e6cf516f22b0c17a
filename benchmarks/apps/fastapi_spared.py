"""The service in FastAPI, its garbage collector set as the template sets it for its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from flask_asgi import tuned_garbage_collector

from . import fastapi_app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Starts as the other does, and then sets the collector."""
    async with fastapi_app.lifespan(app):
        with tuned_garbage_collector():
            yield


app = fastapi_app.app
app.router.lifespan_context = lifespan
