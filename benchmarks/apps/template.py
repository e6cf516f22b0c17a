"""Flask served by this template's engine, taken from a bake."""

from price_service.bridge import FlaskToAsgi

from .flask_app import app
from .upstream_calls import opened
from .work import THREADS

asgi = FlaskToAsgi(app, lifespan=lambda _app: opened(), threads=THREADS)
