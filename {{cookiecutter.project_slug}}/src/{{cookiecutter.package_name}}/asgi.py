"""What an ASGI server imports: `asgi`, the service with its start and its end."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from .missing import missing_package

# A worker that ends with this exit code would fail again: uvicorn's supervisor and gunicorn stop,
# instead of starting it for ever. Both have this number.
STARTUP_FAILURE = 3

try:
    from flask import Flask
    from flask_asgi import FlaskToAsgi, Readiness, drain_on_signal, tuned_garbage_collector

    from . import logs
    from .app import create_app
    from .settings import Settings, SettingsError, load_settings
except ModuleNotFoundError as error:
    sys.stderr.write(f"{missing_package(error)}\n")
    sys.exit(STARTUP_FAILURE)


@asynccontextmanager
async def lifespan(app: Flask) -> AsyncIterator[None]:
    """Keep connections open, background work going and the process ready, once per worker."""
    settings: Settings = app.extensions["settings"]
    readiness: Readiness = app.extensions["readiness"]
    async with AsyncExitStack() as stack:
        for upstream in app.extensions["upstreams"]:
            await stack.enter_async_context(upstream.open())
        # Left first, so that background work can still use the upstreams.
        background = app.extensions["background"]
        background.open()
        stack.push_async_callback(background.close, settings.shutdown_grace_seconds)
        with drain_on_signal(readiness, delay=settings.shutdown_delay_seconds):
            stack.enter_context(tuned_garbage_collector())
            readiness.ready()
            try:
                yield
            finally:
                readiness.draining()


def create_asgi() -> FlaskToAsgi:
    """Return the service as an ASGI application, and send this process's logs where they belong.

    Raises `SettingsError` when the environment's settings are wrong.
    """
    settings = load_settings()
    logs.configure(settings)
    app = create_app(settings)
    app.extensions["readiness"].starting()
    return FlaskToAsgi(
        app,
        lifespan=lifespan,
        threads=settings.worker_threads,
        max_waiting=settings.max_waiting,
        max_in_flight=settings.max_in_flight,
        always_answer=("/livez", "/readyz"),
        request_timeout=settings.request_timeout_seconds,
    )


try:
    asgi = create_asgi()
except SettingsError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(STARTUP_FAILURE)
