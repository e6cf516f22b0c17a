"""Replaces methods of a Flask application, so that it can be served on the loop.

Flask documents that its methods may be overridden. Outside of a server they work as before.
"""

import asyncio
import functools
import inspect
from collections.abc import Callable, Collection
from inspect import CO_COROUTINE
from types import FunctionType, MethodType
from typing import Any, NoReturn

from flask import (
    Flask,
    Request,
    Response,
    got_request_exception,
    has_request_context,
    request,
)
from flask.globals import _cv_request

from ._environ import CANCELLED, ENDING, LEFTOVERS, RULE
from ._greenlets import is_cancelled, is_on_loop
from ._marks import EXTENSION, in_thread, may_block
from ._refusals import run_deferred
from ._rendering import render_plainly
from ._response_body import make_response
from ._url_cache import cache_urls
from ._views import is_async_view
from ._waiting import waiter


def _coroutine_mark() -> str | None:
    """Return the attribute with which `inspect` marks a function as a coroutine function."""

    def marked() -> None: ...

    if hasattr(inspect, "markcoroutinefunction"):  # Python 3.12
        inspect.markcoroutinefunction(marked)
    return next(iter(vars(marked)), None)


_MARK = _coroutine_mark()


def install_hooks(app: Flask, modules: Collection[str] = ()) -> None:
    """Replace the methods of ``app``, and note the ``modules`` whose functions never block.

    A second call only notes further modules.
    """
    if EXTENSION in app.extensions:
        app.extensions[EXTENSION].update(modules)
        return
    app.extensions[EXTENSION] = set(modules)
    cache_urls(app)
    replace = functools.partial(_replace, app)
    replace("async_to_sync", _async_to_sync)
    if type(app).ensure_sync is Flask.ensure_sync:
        replace("ensure_sync", functools.partial(_ensure_sync, app))
    replace("make_response", make_response)
    vars(app)["full_dispatch_request"] = _dispatching(app.full_dispatch_request)
    replace("raise_routing_exception", _raise_routing_exception)
    replace("do_teardown_request", functools.partial(_tear_down, app))
    replace("process_response", functools.partial(_process_response, app))
    replace("_find_error_handler", functools.partial(_find_error_handler, app))
    replace("handle_exception", functools.partial(_handle_exception, app))
    replace("update_template_context", functools.partial(_update_template_context, app))


def guard_views(app: Flask) -> None:
    """Let a view that is not async run in a thread, also in a request that runs on the loop."""
    if "dispatch_request" not in vars(app):
        _replace(app, "dispatch_request", functools.partial(_call_view, app))


def _replace(app: Flask, name: str, replacement: Callable[..., Any]) -> None:
    vars(app)[name] = functools.partial(replacement, getattr(app, name))


def _async_to_sync(
    outside_a_server: Callable[[Callable[..., Any]], Callable[..., Any]],
    function: Callable[..., Any],
) -> Callable[..., Any]:
    # Flask calls this for every async view, hook and error handler.
    def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the view's own
        if (wait := waiter()) is None:
            return outside_a_server(function)(*args, **kwargs)
        return wait(function(*args, **kwargs))

    return call


def _ensure_sync(
    app: Flask,
    ensure_sync: Callable[[Callable[..., Any]], Callable[..., Any]],
    function: Callable[..., Any],
) -> Callable[..., Any]:
    # Flask calls this for the view and for every hook of each request, and asks `inspect`, which
    # looks for wrappers first and takes as long as a hook. The flag in the code object is faster.
    inner = function.__func__ if type(function) is MethodType else function
    if type(inner) is not FunctionType or (_MARK is not None and _MARK in vars(inner)):
        return ensure_sync(function)
    return app.async_to_sync(function) if inner.__code__.co_flags & CO_COROUTINE else function


def _dispatching(dispatch: Callable[..., Response]) -> Callable[..., Response]:
    # A function that calls `dispatch` without `*` and without `functools.partial`: a request that
    # waits keeps the C stack of its calls, and plain calls from Python to Python take none.
    def full_dispatch_request(*args: Any) -> Response:  # noqa: ANN401 - Flask's
        context: Any = _cv_request.get()  # its proxy, `request_ctx`, takes ten times as long
        environ = context.request.environ
        environ[RULE] = context.request.url_rule  # Flask's context ends before the request does
        # Flask answers an `Exception` with a 500. The two errors here are no subclasses of it. They
        # must not end the server, and a cancelled task must not look like a client's disconnect.
        try:
            response = dispatch(*args) if args else dispatch()
        except asyncio.CancelledError as error:
            if is_cancelled() or CANCELLED in environ:
                raise
            message = "the request waited for a task that other code had cancelled"
            raise RuntimeError(message) from error
        except SystemExit as error:
            message = f"{error!r} would have ended the server"
            raise RuntimeError(message) from error
        if ENDING in environ:  # a server has the request
            render_plainly(response)
        return response

    return full_dispatch_request


def _raise_routing_exception(raise_it: Callable[[Request], NoReturn], request: Request) -> NoReturn:
    request.environ.setdefault(LEFTOVERS, []).append(request)
    raise_it(request)


def _tear_down(app: Flask, tear_down: Callable[..., None], *error: BaseException | None) -> None:
    try:
        if error and isinstance(error[-1], asyncio.CancelledError):
            run_deferred(app)
    finally:
        tear_down(*error)
        if error and error[-1] is not None:
            request.environ.setdefault(LEFTOVERS, []).append(error[-1])


# The functions below run code that may block in a thread, for requests that run on the loop.


def _call_view(app: Flask, call: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401 - Flask's
    rule = request.url_rule if is_on_loop() else None
    if rule is None or is_async_view(app.view_functions[rule.endpoint], request.method):
        return call(*args)
    return in_thread(call)(*args)


def _process_response(
    app: Flask,
    process: Callable[..., Response],
    *args: Any,  # noqa: ANN401 - Flask's
) -> Response:
    context: Any = _cv_request.get()  # as above
    deferred = context._after_request_functions  # noqa: SLF001 - those of `after_this_request`
    if deferred and is_on_loop() and any(may_block(app, each) for each in deferred):
        return in_thread(process)(*args)
    return process(*args)


def _find_error_handler(app: Flask, find: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401 - Flask's
    handler = find(*args)
    if handler is None or not is_on_loop() or not may_block(app, handler):
        return handler
    return in_thread(handler)


def _handle_exception(app: Flask, handle: Callable[..., Response], error: Exception) -> Response:
    if got_request_exception.receivers and is_on_loop():
        receivers = got_request_exception.receivers_for(app)
        if any(may_block(app, each) for each in receivers):
            return in_thread(_handle_raised)(handle, [error])
    return handle(error)


def _handle_raised(handle: Callable[..., Response], errors: list[Exception]) -> Response:
    # Flask logs, and sends to the receivers, the error that is being handled.
    try:
        raise errors.pop()  # noqa: TRY301 - left in a variable, it would form a cycle with its traceback
    except Exception as error:  # noqa: BLE001 - the same one
        return handle(error)


def _update_template_context(
    app: Flask,
    update: Callable[..., None],
    *args: Any,  # noqa: ANN401 - Flask's
) -> None:
    if is_on_loop():
        names = (None, *request.blueprints) if has_request_context() else (None,)
        processors = app.template_context_processors
        functions = [each for name in names for each in processors.get(name, ())]
        if any(may_block(app, each) for each in functions):
            in_thread(update)(*args)
            return
    update(*args)
