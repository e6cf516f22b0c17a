"""Reports at start-up the code of an application that makes its async views need a thread."""

import gc
import sys
from collections.abc import Iterator
from typing import Any

from flask import Flask

from ._marks import module_of
from ._placement import Placement
from ._views import hidden_async_function, is_async_view

_IGNORED = {"HEAD", "OPTIONS"}  # Flask adds these to others


class HiddenViewError(Exception):
    """A synchronous decorator hides an ``async def`` view, and hidden views are refused."""


def report(app: Flask, placement: Placement, threads: int, *, refuse_hidden_views: bool) -> None:
    """Log a warning for each async view that a decorator hides, and other code that may block.

    Raises:
        HiddenViewError: hidden views are refused, and there is at least one.
    """
    hidden = [
        f"The async view {endpoint!r} holds one of {threads} threads while it waits, because a "
        f"decorator of {module} hides it. Put @flask_asgi.on_loop above the decorators if they "
        "never block."
        for endpoint, module in sorted(_hidden_views(app))
    ]
    if hidden and refuse_hidden_views:
        raise HiddenViewError(" ".join(hidden))
    for sentence in hidden:
        app.logger.warning(sentence)
    if not any(_async_views(app)):
        return
    blocking = [*placement.blocking_code(placement.all_names()), *placement.blocking_receivers()]
    if blocking:
        names = ", ".join(dict.fromkeys(f"{kind} {_name(code)}" for kind, code in blocking))
        app.logger.info(
            "Requests to async views hold one of %d threads while they wait, because this code may "
            "block: %s. Mark code that never blocks with flask_asgi.on_loop.",
            threads,
            names,
        )
    for name in _sessions_by_thread():
        app.logger.warning(
            "%s keeps a session for each thread, and async views share the thread of the event "
            "loop: one request can commit what another one added. Make it with "
            "scopefunc=flask_asgi.request_scope.",
            name,
        )


def _hidden_views(app: Flask) -> Iterator[tuple[str, str]]:
    """Yield the endpoint of each hidden async view, once, and the module of the decorator."""
    seen = set()
    for endpoint, method, view in _views(app):
        if endpoint in seen or is_async_view(view, method):
            continue
        if hidden_async_function(view, method) is not None:
            seen.add(endpoint)
            yield endpoint, _module_of_code(view, method)


def _async_views(app: Flask) -> Iterator[str]:
    return (endpoint for endpoint, method, view in _views(app) if is_async_view(view, method))


def _views(app: Flask) -> Iterator[tuple[str, str, Any]]:
    for rule in app.url_map.iter_rules():
        if (view := app.view_functions.get(rule.endpoint)) is not None:
            for method in sorted((rule.methods or {"GET"}) - _IGNORED):
                yield rule.endpoint, method, view


def _module_of_code(view: Any, method: str) -> str:  # noqa: ANN401 - whatever is registered
    """Return the module of a wrapper's code: `functools.wraps` replaces its `__module__`."""
    if (view_class := getattr(view, "view_class", None)) is not None:
        view = getattr(view_class, method.lower(), view)
    named = getattr(view, "__globals__", {}).get("__name__")
    return str(named or module_of(view))


def _name(code: object) -> str:
    name = getattr(code, "__qualname__", None) or type(code).__qualname__
    return f"{module_of(code)}.{name}"


def _sessions_by_thread() -> Iterator[str]:
    """Yield SQLAlchemy's scoped sessions whose scope is a thread, SQLAlchemy's default."""
    orm, util = sys.modules.get("sqlalchemy.orm"), sys.modules.get("sqlalchemy.util")
    if orm is None or util is None:
        return
    for each in gc.get_objects():
        is_session = type(each) is orm.scoped_session
        if is_session and isinstance(each.registry, util.ThreadLocalRegistry):
            yield f"A scoped_session of {_module_that_has(each)}"


def _module_that_has(value: object) -> str:
    for name, module in list(sys.modules.items()):
        if any(each is value for each in list(getattr(module, "__dict__", {}).values())):
            return name
    return "SQLAlchemy"
