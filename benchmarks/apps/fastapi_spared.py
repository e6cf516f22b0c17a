"""The service in FastAPI, with the template's setting of the garbage collector."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from flask_asgi import tuned_garbage_collector

from . import fastapi_app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Starts like the plain FastAPI application, and then sets the collector."""
    async with fastapi_app.lifespan(app):
        with tuned_garbage_collector():
            yield


app = fastapi_app.app
app.router.lifespan_context = lifespan
