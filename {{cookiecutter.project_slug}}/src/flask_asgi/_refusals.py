"""Answers that the engine gives by itself, with all that the application adds to every answer.

A request that is refused, or whose view was cancelled, meets no view and no `before_request`. Its
answer still goes through the application's error handlers, `after_request` and teardown, so it has
the headers that every answer has, and its line in the access log.
"""

import json
from collections.abc import Iterable
from http import HTTPStatus
from traceback import walk_tb
from typing import TYPE_CHECKING

from flask import Flask, Request, Response, request
from flask.ctx import RequestContext
from werkzeug.exceptions import HTTPException

from ._environ import CANCELLED, LATE_RESPONSE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# nginx's word for a client that closed the connection before its answer; HTTP has none.
CLIENT_CLOSED_REQUEST = 499

_KEEP_ERRORS = {Flask.wsgi_app.__code__, Flask.full_dispatch_request.__code__}


def refuse(
    app: Flask, error: HTTPException, environ: "WSGIEnvironment", start_response: "StartResponse"
) -> Iterable[bytes]:
    """Answer a request with `error`, as a WSGI application does.

    No session is opened: it may live in a database, and nothing here needs it.
    """
    session = app.session_interface.make_null_session(app)
    with RequestContext(app, environ, session=session):
        return _error_response(app, error)(environ, start_response)


def run_deferred(app: Flask) -> None:
    """Do what a cancelled view has put off until its response, once.

    A cancelled view leaves no response, yet what it put off until there is one, such as removing
    a file (`after_this_request`), has to be done.
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
    """Break the cycles that errors make with a request that has ended.

    Only the garbage collector could free them otherwise, and it comes seldom.
    """
    while leftovers:
        each = leftovers.pop()
        if isinstance(each, Request):
            each.routing_exception = None
        else:
            _forget_frames(each)


def _forget_frames(error: BaseException) -> None:
    """Break the cycles that an error makes with the frames of Flask's functions, which have ended.

    Each of them keeps the error in a local variable, and the error's traceback keeps its frame,
    with the request and its body in it. The traceback stays, for whoever has kept the error.
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
    # Flask gives the error itself back where the application handles none.
    return _process(app, _problem(app, error) if answer is error else app.make_response(answer))


def _process(app: Flask, response: Response) -> Response:
    try:
        return app.process_response(response)
    except Exception:
        app.logger.exception("What follows a request that was refused or cancelled failed")
        return response


def _problem(app: Flask, error: HTTPException) -> Response:
    """Return the error as a problem: RFC 9457."""
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    body = json.dumps({"title": status.phrase, "status": status, "detail": error.description})
    response = app.response_class(body, status, content_type="application/problem+json")
    for name, value in error.get_headers():
        if name.lower() != "content-type":
            response.headers.add(name, value)
    return response
