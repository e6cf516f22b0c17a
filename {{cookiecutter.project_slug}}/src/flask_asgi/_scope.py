"""The scope of objects that belong to one request."""

import threading
from typing import Any

from flask import has_app_context
from flask.globals import app_ctx


def request_scope() -> tuple[str, int]:
    """Return a key for the current request, unique among those in flight; otherwise the thread's.

    It is for registries that keep an object per thread, where async views would share it. Example:
    ``scoped_session(sessionmaker(engine), scopefunc=request_scope)`` of SQLAlchemy.
    """
    if has_app_context():
        context: Any = app_ctx
        return "context", id(context._get_current_object())  # noqa: SLF001 - Werkzeug's documented way
    return "thread", threading.get_ident()
