"""Puts the parts of the service together; no other module does."""

from flask import Flask
from flask_asgi import (
    Background,
    FlaskToAsgi,
    Lifespan,
    Networks,
    Readiness,
    StrictProvider,
    StrictRequest,
    init_deadlines,
    init_headers,
    serving,
)
from upstreams import BUDGET_HEADER, begin_request, lift_deadline, open_all

from . import guards, logs, observing, openapi, problems, views
from .clients import Clients
from .parts import Parts, parts
from .settings import Settings, load_settings

# Limits for browsers: use the response only as its declared type, and load nothing else for it
# (OWASP's REST Security Cheat Sheet). A view that returns a page sets another policy.
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}

# Only for a response over TLS: RFC 6797 section 7.2. In seconds: two years.
OVER_TLS = {"Strict-Transport-Security": "max-age=63072000"}


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
    clients = Clients(settings)
    lifespan = Lifespan()
    lifespan.add(lambda _: open_all(clients.upstreams))  # add other resources below this line
    background = Background(on_start=lift_deadline)
    Parts(settings, readiness, background, lifespan, clients).keep_in(app)

    logs.init_app(app)  # first, so that every other part's work is inside the access line
    observing.init_app(app)
    init_headers(app, HEADERS, over_tls=OVER_TLS, readiness=readiness)
    believed = Networks(settings.deadline_allow_ips)
    init_deadlines(app, BUDGET_HEADER, believed=believed, begin=begin_request)
    problems.init_app(app)
    views.init_app(app)
    guards.init_app(app)  # after all views: it checks whether a view needs a token
    openapi.init_app(app)
    return app


def create_asgi(app: Flask) -> FlaskToAsgi:
    """Return `app` as an ASGI application, which is ready once its lifespan is open."""
    service, settings = parts(app), parts(app).settings
    return FlaskToAsgi(
        app,
        lifespan=serving(
            service.lifespan,
            service.background,
            service.readiness,
            delay=settings.shutdown_delay_seconds,
            grace=settings.shutdown_grace_seconds,
        ),
        threads=settings.worker_threads,
        max_waiting=settings.max_waiting,
        max_in_flight=settings.max_in_flight,
        always_answer=logs.PROBES,
        request_timeout=settings.request_timeout_seconds,
        observer=observing.observe(service),
    )
