"""Puts the parts of the service together; no other module does."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from flask import Flask, Response, request
from flask_asgi import (
    Background,
    FlaskToAsgi,
    Lifespan,
    Networks,
    Readiness,
    StrictProvider,
    StrictRequest,
    on_loop,
    tuned_garbage_collector,
    without_host,
)
from upstreams import lift_deadline

from . import deadline, guards, logs, metrics, openapi, problems, tracing, views
from .clients import Clients
from .parts import Parts, parts
from .settings import Settings, load_settings


def create_app(settings: Settings | None = None) -> Flask:
    """Return the application, with `settings` or by default those of the environment.

    It opens no connection and starts no thread; the lifespan of `create_asgi` does.

    Raises:
        SettingsError: the environment's settings are wrong.
    """
    settings = settings or load_settings()
    app = Flask(__name__.partition(".")[0])
    app.json, app.request_class = StrictProvider(app), StrictRequest
    app.debug = settings.debug
    app.config.update(
        MAX_CONTENT_LENGTH=settings.max_content_length,
        SECRET_KEY=settings.secret_key and settings.secret_key.get_secret_value(),
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.environment == "production",
    )

    readiness = Readiness()
    readiness.ready()  # WSGI has no start-up to wait for; the ASGI lifespan has
    lifespan = Lifespan()
    lifespan.add(_upstreams)  # add other resources of the service below this line
    background = Background(on_start=lift_deadline)
    Parts(settings, readiness, background, lifespan, Clients(settings)).keep_in(app)

    tracing.init_app(app)
    logs.init_app(app)  # first, so that every other part's work is inside the access line
    _add_headers(app, readiness)
    deadline.init_app(app, Networks(settings.deadline_allow_ips))
    problems.init_app(app)
    views.init_app(app)
    guards.init_app(app)  # after all views: it checks whether a view needs a token
    openapi.init_app(app)
    return app


# Limits for browsers: use the response only as its declared type, and load nothing else for it
# (OWASP's REST Security Cheat Sheet). A view that returns a page sets another policy.
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}

# Only for a response over TLS: RFC 6797 section 7.2. In seconds: two years.
ONLY_TLS = "max-age=63072000"


def _add_headers(app: Flask, readiness: Readiness) -> None:
    """Add the common headers to every response."""

    # One function for all headers: each function of `after_request` costs time in every request.
    @app.after_request
    @on_loop
    def add(response: Response) -> Response:
        headers = response.headers
        given = {name.lower() for name, _ in headers}  # to ask `headers` for each costs more
        for name, value in HEADERS.items():
            if name.lower() not in given:
                headers.add(name, value)
        if request.is_secure and "strict-transport-security" not in given:
            headers.add("Strict-Transport-Security", ONLY_TLS)
        return readiness.end_connection(without_host(response))


def create_asgi(app: Flask) -> FlaskToAsgi:
    """Return `app` as an ASGI application, which is ready once its lifespan is open."""
    parts(app).readiness.starting()
    settings = parts(app).settings
    return FlaskToAsgi(
        app,
        lifespan=_serving,
        threads=settings.worker_threads,
        max_waiting=settings.max_waiting,
        max_in_flight=settings.max_in_flight,
        always_answer=logs.PROBES,
        request_timeout=settings.request_timeout_seconds,
        observer=metrics.observe(parts(app)),
    )


@asynccontextmanager
async def _upstreams(app: Flask) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for upstream in parts(app).clients.upstreams:
            await stack.enter_async_context(upstream.open())
        yield


@asynccontextmanager
async def _serving(app: Flask) -> AsyncIterator[None]:
    """Keep resources open, background tasks running and the process ready, once per worker."""
    service, settings = parts(app), parts(app).settings
    # Background tasks end first, so that every resource is open until then.
    async with service.lifespan(app), service.background.running(settings.shutdown_grace_seconds):
        delay = settings.shutdown_delay_seconds
        with tuned_garbage_collector(), service.readiness.serving(delay=delay):
            yield
