"""Puts the parts of the service together, and is the only place where that is done."""

from flask import Flask
from flask_asgi import Background, Readiness, StrictProvider, StrictRequest
from upstreams import lift_deadline

from . import clients, deadline, headers, logs, problems, views
from .settings import Settings, load_settings


def create_app(settings: Settings | None = None) -> Flask:
    """Return the application, with `settings` or else those of the environment.

    It opens no connection and starts no thread; the lifespan in `asgi.py` does.

    Raises:
        SettingsError: the environment's settings are wrong.
    """
    settings = settings or load_settings()
    app = Flask(__name__.partition(".")[0], static_folder=None)
    app.json, app.request_class = StrictProvider(app), StrictRequest
    app.debug = settings.debug
    app.config["MAX_CONTENT_LENGTH"] = settings.max_content_length

    readiness = Readiness()
    readiness.ready()  # WSGI has no start-up to wait for; `asgi.py` has, and says so
    app.after_request(readiness.end_connection)
    app.extensions |= {
        "settings": settings,
        "readiness": readiness,
        "background": Background(on_start=lift_deadline),
    }

    logs.init_app(app)  # first, so that every other part's work is inside the access line
    headers.init_app(app)
    deadline.init_app(app)
    problems.init_app(app)
    clients.init_app(app)
    views.init_app(app)
    return app
