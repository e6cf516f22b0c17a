"""Responses of the engine itself, instead of a view's: 400, 408, 503 and 504.

No view and no `before_request` runs for them. They go through the application's error handlers,
`after_request` and teardown, so they have the headers of every response and a line in the access
log.
"""

from collections.abc import Iterable
from traceback import walk_tb
from typing import TYPE_CHECKING

from flask import Flask, Request, Response, request
from flask.ctx import RequestContext
from werkzeug.exceptions import HTTPException

from ._access import CLIENT_CLOSED_REQUEST
from ._environ import CANCELLED, LATE_RESPONSE, RULE
from ._problems import http_problem

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_KEEP_ERRORS = {Flask.wsgi_app.__code__, Flask.full_dispatch_request.__code__}


def refuse(
    app: Flask, error: HTTPException, environ: "WSGIEnvironment", start_response: "StartResponse"
) -> Iterable[bytes]:
    """Answer a request with `error`, as a WSGI application does.

    It opens no session, which may be in a database: no code here needs it.
    """
    session = app.session_interface.make_null_session(app)
    with RequestContext(app, environ, session=session) as context:
        environ[RULE] = context.request.url_rule
        return _error_response(app, error)(environ, start_response)


def run_deferred(app: Flask) -> None:
    """Run the `after_request` functions for the current request, whose view was cancelled.

    A cancelled view returns no response, but the functions that it passed to `after_this_request`,
    for example to remove a file, must run. They run once. If the client still waits, they get the
    error response, which is kept in the environ and sent later. Otherwise they get a response with
    status `CLIENT_CLOSED_REQUEST`, which is not sent.
    """
    environ = request.environ
    if CANCELLED not in environ:
        return
    error = environ.pop(CANCELLED)
    if error is None:
        _process(app, app.response_class(status=CLIENT_CLOSED_REQUEST))
    else:
        environ[LATE_RESPONSE] = _error_response(app, error)


def break_cycles(leftovers: list[BaseException | Request]) -> None:
    """Break the reference cycles between errors and a request that has ended.

    Otherwise only the garbage collector could free them, and it runs seldom.
    """
    while leftovers:
        each = leftovers.pop()
        if isinstance(each, Request):
            each.routing_exception = None
        else:
            _forget_frames(each)


def _forget_frames(error: BaseException) -> None:
    """Break the cycles of an error with the frames of Flask's functions, which have ended.

    Each function keeps the error in a local variable. The error's traceback keeps the function's
    frame, with the request and its body. The traceback stays, because other code may still use the
    error.
    """
    chain = [error]
    for each in chain:
        links = (each.__cause__, each.__context__)
        chain += [link for link in links if link is not None and link not in chain]
        for frame, _ in walk_tb(each.__traceback__):
            if frame.f_code in _KEEP_ERRORS:
                frame.clear()


def _error_response(app: Flask, error: HTTPException) -> Response:
    try:
        answer = app.handle_user_exception(error)
    except Exception:
        app.logger.exception("The error handler of %s failed", error.code)
        answer = error
    # Flask returns the error itself if the application has no handler for it.
    return _process(app, app.make_response(http_problem(error) if answer is error else answer))


def _process(app: Flask, response: Response) -> Response:
    try:
        return app.process_response(response)
    except Exception:
        app.logger.exception("A hook after a refused or cancelled request failed")
        return response
