"""Turns errors into responses that describe them as `application/problem+json` (RFC 9457)."""

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from http.client import responses
from urllib.parse import quote

from flask import Flask, Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import (
    BadRequestKeyError,
    HTTPException,
    InternalServerError,
    default_exceptions,
)
from werkzeug.sansio.response import Response as AnyResponse

from ._access import request_id
from ._marks import is_for_loop, on_loop

# The type of a problem that says no more than its status: RFC 9457 section 4.2.1.
ABOUT_BLANK = "about:blank"

# The details for errors without a description. Werkzeug's texts are for a person with a browser:
# "If you entered the URL manually please check your spelling".
_DETAILS: dict[int, str] = {
    400: "The request is malformed.",
    401: "The request has no valid credentials.",
    403: "The request is understood, and not allowed.",
    404: "Nothing was found at this path.",
    405: "This path does not support the method of the request.",
    406: "No representation fits the Accept headers of the request.",
    408: "The request took too long to arrive.",
    409: "The request conflicts with the present state of the resource.",
    410: "The resource was removed for good.",
    411: "The request needs a Content-Length.",
    412: "A precondition of the request does not hold.",
    413: "The request's body is larger than is accepted.",
    414: "The request's path and query are longer than is accepted.",
    415: "The request's body is of a media type that is not accepted here.",
    416: "The requested range does not exist.",
    417: "The Expect header of the request cannot be met.",
    418: "The request asks a teapot for coffee.",
    421: "This service does not serve the host of the request.",
    422: "The request is well formed, and its content is not acceptable.",
    423: "The resource is locked.",
    424: "A request that this one depends on failed.",
    428: "The request needs a precondition, such as If-Match.",
    429: "Too many requests came from this client.",
    431: "The request's headers are larger than is accepted.",
    451: "The resource is withheld for legal reasons.",
    500: "The service failed to answer this request.",
    501: "The service does not support what the request needs.",
    502: "An upstream sent an invalid reply.",
    503: "The service cannot answer now.",
    504: "An upstream did not answer in time.",
    505: "The HTTP version of the request is not supported.",
}
_STOCK = {kind.description for kind in default_exceptions.values()}

Handler = Callable[[list[Exception]], ResponseReturnValue | Awaitable[ResponseReturnValue]]


def init_problems(app: Flask) -> None:
    """Answer each error of a request with a problem.

    Errors that `abort` or Flask itself raises keep their status, description and headers. Any other
    error is logged, and answered 500; the response shows its cause only while `app.debug` is set.
    """
    # In debug mode Flask would pass the exception to the server, which answers in plain text.
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.register_error_handler(HTTPException, http_problem)


def handle_errors(app: Flask, handler: Handler, *kinds: type[Exception]) -> None:
    """Call `handler` with the errors of these `kinds` that a view raised; it returns the response.

    It gets one error, or all those in a group that `asyncio.TaskGroup` raised. If `abort` raised an
    error in the group, that error is answered instead. A group with any other error is a bug: 500.

    Call it once for each application. The handler may be an `async def` function. A handler that is
    neither `async def` nor marked with `on_loop` runs in a thread.
    """

    def answer(errors: list[Exception]) -> ResponseReturnValue:
        response: ResponseReturnValue = app.ensure_sync(handler)(errors)
        return response

    def alone(error: Exception) -> ResponseReturnValue:
        return answer([error])

    def grouped(group: ExceptionGroup[Exception]) -> ResponseReturnValue | AnyResponse:
        errors = _inside(group)
        if not all(isinstance(error, (HTTPException, *kinds)) for error in errors):
            raise group
        for error in errors:
            if isinstance(error, HTTPException):  # from `abort`: it is answered first
                return app.handle_user_exception(error)
        return answer(errors)

    for function in (alone, grouped) if is_for_loop(handler) else ():
        on_loop(function)
    for kind in kinds:
        app.register_error_handler(kind, alone)
    app.register_error_handler(ExceptionGroup, grouped)


def problem(status: int, detail: str, *, kind: str = ABOUT_BLANK, **members: object) -> Response:
    """Return a response that describes one occurrence of a problem.

    `detail` says in a sentence what went wrong this time; the client reads it. `members` are
    further members of the object (RFC 9457 section 3.2). `kind` is its type. The title is the
    phrase of the `status` (section 4.2.1), for a problem with a `kind` too.
    """
    response = jsonify(
        type=kind,
        title=responses.get(status, "Unknown Error"),
        status=status,
        detail=detail,
        instance=quote(request.root_path + request.path),
        request_id=request_id(),
        **members,
    )
    response.status_code = status
    response.content_type = "application/problem+json"
    return response


@on_loop
def http_problem(error: HTTPException) -> Response | AnyResponse:
    """Return the response for an HTTP error, with the error's headers."""
    if error.response is not None:  # from `abort(422, response=...)`
        return error.response
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    response = problem(status, _detail(error))
    # Such as Allow, Retry-After and WWW-Authenticate; the content type is the problem's.
    for name, value in error.get_headers():
        if name.lower() != "content-type":
            response.headers.add(name, value)
    return response


def _detail(error: HTTPException) -> str:
    if isinstance(error, InternalServerError) and error.original_exception and current_app.debug:
        return repr(error.original_exception)
    if isinstance(error, BadRequestKeyError) and error.args:
        return f"The request has no field {error.args[0]!r}."
    text = _text(error.description)
    if text and text not in _STOCK:
        return text
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    return _DETAILS.get(status) or responses.get(status, "Unknown Error")


def _text(description: object) -> str:
    """Return a description as text; `abort` accepts any object as a description."""
    match description:
        case None:
            return ""
        case bytes() | bytearray():
            return description.decode(errors="replace")
        case dict() | list() | tuple():
            return json.dumps(description, default=str, ensure_ascii=False, skipkeys=True)
    # It may be an exception or a lazy translation. Half a surrogate pair cannot be encoded.
    return str(description).encode(errors="replace").decode()


def _inside(error: Exception) -> list[Exception]:
    if not isinstance(error, ExceptionGroup):
        return [error]
    return [leaf for each in error.exceptions for leaf in _inside(each)]
