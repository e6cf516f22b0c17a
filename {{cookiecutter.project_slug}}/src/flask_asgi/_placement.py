"""Decides where a request runs: on the event loop, or in a worker thread.

It runs on the loop if no part of it can block: its view, and every function that Flask calls before
and after the view, is ``async def`` or marked with `on_loop`. Otherwise the request runs in one
thread from its first hook to its teardown, as under a WSGI server, so that objects which these
functions keep per thread belong to the request alone. Its ``async def`` view still runs on the loop
while the thread waits.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import flask
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from ._hooks import guard_views
from ._marks import may_block
from ._url_cache import AsyncViewCache, Names

# The signals that Flask sends for each request. Their receivers, like hooks, may block.
SIGNALS = (
    flask.request_started,
    flask.request_finished,
    flask.request_tearing_down,
    flask.appcontext_pushed,
    flask.appcontext_tearing_down,
    flask.appcontext_popped,
)

# Kept because each request checks whether a signal has receivers.
_RECEIVERS = [signal.receivers for signal in SIGNALS]

# Methods that a subclass of `Flask` can override with code that blocks.
_METHODS = (
    "wsgi_app",
    "full_dispatch_request",
    "preprocess_request",
    "dispatch_request",
    "make_response",
    "finalize_request",
    "process_response",
    "do_teardown_request",
    "do_teardown_appcontext",
)

# Middleware that only reads headers.
_READS_HEADERS = {ProxyFix}


class Placement:
    """Decides for the requests of one application whether they run on the event loop."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._names_of_async_view = AsyncViewCache(app)
        self._verdicts: dict[Names, bool] = {}
        self._sessions: object = None
        self._wsgi_app: object = None

    def is_on_loop(self, environ: dict[str, Any]) -> bool:
        """Tell whether the request with this WSGI environ runs on the event loop."""
        if "wsgi_app" in vars(self._app) and self._middleware() is not None:
            # Middleware may change the path or the method. So Flask finds the view, and a view that
            # is not async runs in a thread.
            guard_views(self._app)
            return self.is_free_of_blocking(self.all_names())
        names = self._names_of_async_view(environ)
        return names is not None and self.is_free_of_blocking(names)

    def is_free_of_blocking(self, names: Names = (None,)) -> bool:
        """Tell whether no code that Flask calls around a view can block.

        ``names`` are those of the view's blueprints, and None for the application itself.
        """
        if any(_RECEIVERS) and any(self.blocking_receivers()):
            return False
        # Flask refuses new hooks after the first request, but these two can still change.
        app = self._app
        if app.session_interface is not self._sessions or app.wsgi_app != self._wsgi_app:
            self._sessions, self._wsgi_app = app.session_interface, app.wsgi_app
            self._verdicts.clear()
        if (verdict := self._verdicts.get(names)) is None:
            verdict = self._verdicts[names] = not any(self.blocking_code(names))
        return verdict

    def blocking_code(self, names: Names) -> Iterator[tuple[str, object]]:
        """Yield the code around a view that may block, each with a name for the log."""
        yield from self._blocking_parts()
        app = self._app
        kinds: dict[str, Any] = {
            "url_value_preprocessor": app.url_value_preprocessors,
            "before_request": app.before_request_funcs,
            "after_request": app.after_request_funcs,
            "teardown_request": app.teardown_request_funcs,
            "teardown_appcontext": {None: app.teardown_appcontext_funcs},
        }
        for kind, functions in kinds.items():
            for function in itertools.chain(*(functions.get(name, ()) for name in names)):
                if may_block(app, function):
                    yield kind, function

    def blocking_receivers(self) -> Iterator[tuple[str, object]]:
        """Yield the receivers of Flask's signals that may block, each with the signal's name."""
        for signal in SIGNALS:
            for receiver in signal.receivers_for(self._app) if signal.receivers else ():
                if may_block(self._app, receiver):
                    yield signal.name, receiver

    def all_names(self) -> Names:
        """Return None, for the application, and the names of all its blueprints."""
        return (None, *self._app.blueprints)

    def _blocking_parts(self) -> Iterator[tuple[str, object]]:
        app = self._app
        middleware, sessions = self._middleware(), app.session_interface
        if middleware is not None and may_block(app, middleware):
            yield "wsgi_app", middleware
        if may_block(app, sessions):
            yield "session_interface", sessions
        for name in _METHODS:
            method = getattr(type(app), name)
            if method is not getattr(Flask, name) and may_block(app, method):
                yield name, method

    def _middleware(self) -> object:
        """Return the outermost WSGI middleware of unknown effect; None without one."""
        middleware: Any = vars(self._app).get("wsgi_app")
        while type(middleware) in _READS_HEADERS:
            middleware = middleware.app
        return None if getattr(middleware, "__func__", None) is Flask.wsgi_app else middleware
