"""The methods of a Flask application that are replaced, so that it can be served on the loop.

Flask documents its methods as a place to change it. Outside of a server they work as before.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Any, NoReturn

from flask import Flask, Request, Response, request

from ._environ import LEFTOVERS
from ._greenlets import is_cancelled
from ._refusals import run_deferred
from ._response_body import make_response
from ._url_cache import cache_urls
from ._waiting import waiter

EXTENSION = "flask_asgi"


def install_hooks(app: Flask) -> None:
    """Replace the methods of ``app``. A second call does nothing."""
    if EXTENSION in app.extensions:
        return
    app.extensions[EXTENSION] = True
    cache_urls(app)
    vars(app).update(
        async_to_sync=functools.partial(_async_to_sync, app.async_to_sync),
        make_response=functools.partial(make_response, app.make_response),
        full_dispatch_request=functools.partial(_dispatch, app.full_dispatch_request),
        raise_routing_exception=functools.partial(
            _raise_routing_exception, app.raise_routing_exception
        ),
        do_teardown_request=functools.partial(_tear_down, app, app.do_teardown_request),
    )


def _async_to_sync(
    outside_a_server: Callable[[Callable[..., Any]], Callable[..., Any]],
    function: Callable[..., Any],
) -> Callable[..., Any]:
    # Flask calls this for every async view, hook and error handler whose result it needs.
    def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the view's own
        if (wait := waiter()) is None:
            return outside_a_server(function)(*args, **kwargs)
        return wait(function(*args, **kwargs))

    return call


def _dispatch(dispatch: Callable[..., Response], *args: Any) -> Response:  # noqa: ANN401 - Flask's
    # Flask answers an `Exception` with a 500. These two are not subclasses of it. They must not end
    # the server, and a cancelled task must not look like a client that disconnected.
    try:
        return dispatch(*args)
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        message = "the request waited for a task that other code had cancelled"
        raise RuntimeError(message) from error
    except SystemExit as error:
        message = f"{error!r} would have ended the server"
        raise RuntimeError(message) from error


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
