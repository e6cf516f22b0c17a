"""The scope of what a request keeps for itself."""

import threading
from typing import Any

from flask import has_app_context
from flask.globals import app_ctx


def request_scope() -> tuple[str, int]:
    """Return what tells the current request from all others under way; else, the current thread.

    For registries that keep an object per thread, which async views share: for example
    ``scoped_session(sessionmaker(engine), scopefunc=request_scope)`` of SQLAlchemy.
    """
    if has_app_context():
        context: Any = app_ctx
        return "context", id(context._get_current_object())  # noqa: SLF001 - Werkzeug's documented way
    return "thread", threading.get_ident()
