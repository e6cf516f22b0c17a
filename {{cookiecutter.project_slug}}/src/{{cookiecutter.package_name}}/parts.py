"""The objects that the views and hooks of one application share, each with its type."""

from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app
from flask_asgi import Background, Lifespan, Readiness

from .clients import Clients
from .settings import Settings


@dataclass(frozen=True)
class Parts:
    """The parts that `create_app` makes. For a new part, add a field here and make it there."""

    settings: Settings
    readiness: Readiness
    background: Background
    lifespan: Lifespan
    clients: Clients

    def keep_in(self, app: Flask) -> None:
        """Make these the parts of `app`."""
        app.extensions[__name__] = self


def parts(app: Flask | None = None) -> Parts:
    """Return the parts of `app`, by default the current request's application."""
    return cast("Parts", (app or current_app).extensions[__name__])
