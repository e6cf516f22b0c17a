"""Every error leaves the service as `application/problem+json` (RFC 9457)."""

import json
import math
from collections.abc import Collection
from http import HTTPStatus
from http.client import responses
from urllib.parse import quote

from flask import Flask, Response, current_app, jsonify, request
from flask_asgi import on_loop, request_id
from upstreams import (
    LONGEST_WAIT,
    DeadlineExceeded,
    UpstreamBusy,
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
    log_failure,
)
from werkzeug.exceptions import (
    BadRequestKeyError,
    HTTPException,
    InternalServerError,
    default_exceptions,
)
from werkzeug.sansio.response import Response as AnyResponse

ABOUT_BLANK = "about:blank"

# The types of problems that upstreams cause. They are names and not addresses, which RFC 9457
# section 3.1.1 allows.
UPSTREAM_TYPES: dict[type[Exception], str] = {
    DeadlineExceeded: "urn:problem-type:deadline-exceeded",
    UpstreamTimeout: "urn:problem-type:upstream-timeout",
    UpstreamBusy: "urn:problem-type:upstream-busy",
    UpstreamUnavailable: "urn:problem-type:upstream-unavailable",
    UpstreamRejected: "urn:problem-type:upstream-rejected",
    UpstreamInvalid: "urn:problem-type:upstream-invalid",
}

# What is said of an error that says nothing of its own. Werkzeug's texts are for a person with a
# browser: "If you entered the URL manually please check your spelling".
DETAILS: dict[int, str] = {
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
    421: "The request reached a service that does not answer for its host.",
    422: "The request is well formed, and its content is not acceptable.",
    423: "The resource is locked.",
    424: "A request that this one depends on failed.",
    428: "The request needs a precondition, such as If-Match.",
    429: "Too many requests came from this client.",
    431: "The request's headers are larger than is accepted.",
    451: "The resource is withheld for legal reasons.",
    500: "The service failed to answer this request.",
    501: "The service does not support what the request needs.",
    502: "An upstream gave no valid answer.",
    503: "The service cannot answer now.",
    504: "An upstream did not answer in time.",
    505: "The HTTP version of the request is not supported.",
}
_STOCK = {kind.description for kind in default_exceptions.values()}


def init_app(app: Flask) -> None:
    """Turn what views raise into problems, and so what Flask itself refuses."""
    # In debug mode Flask would let an exception through to the server, which answers in plain text.
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.register_error_handler(HTTPException, _from_http_exception)
    app.register_error_handler(UpstreamError, _from_upstream_error)
    app.register_error_handler(DeadlineExceeded, _from_upstream_error)
    app.register_error_handler(ExceptionGroup, _from_group)


def problem(status: int, detail: str, *, kind: str = ABOUT_BLANK, **members: object) -> Response:
    """Return a response that describes one occurrence of a problem.

    `detail` says in a sentence what went wrong this time, and must be fit for the client's eyes;
    `members` are further members of the object (RFC 9457 section 3.2). `kind` is its type; one
    without a type of its own is titled by its `status` alone (section 4.2.1), and so are all here.
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
def _from_http_exception(error: HTTPException) -> Response | AnyResponse:
    if error.response is not None:  # what `abort(422, response=...)` wants to be sent
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
    return DETAILS.get(status) or responses.get(status, "Unknown Error")


def _text(description: object) -> str:
    """Return a description as text; it may be whatever somebody gave to `abort`."""
    match description:
        case None:
            return ""
        case bytes() | bytearray():
            return description.decode(errors="replace")
        case dict() | list() | tuple():
            return json.dumps(description, default=str, ensure_ascii=False, skipkeys=True)
    # An exception, a translation that is made when it is used; half a surrogate pair is no text.
    return str(description).encode(errors="replace").decode()


def upstream_problem(errors: Collection[Exception], detail: str, **members: object) -> Response:
    """Return the problem of a request for which calls of upstreams failed with these `errors`.

    503 when it was this service that made too many calls (`UpstreamBusy`), 504 when all of them ran
    out of time, else 502 (RFC 9110 sections 15.6.3 to 15.6.5). It is of their type when they have
    one in common, and says when to come back if an upstream did.
    """
    kinds = {UPSTREAM_TYPES.get(type(error), ABOUT_BLANK) for error in errors}
    response = problem(
        _status(errors), detail, kind=kinds.pop() if len(kinds) == 1 else ABOUT_BLANK, **members
    )
    waits = [error.retry_after for error in errors if isinstance(error, UpstreamError)]
    if known := [wait for wait in waits if wait is not None and 0 <= wait < math.inf]:
        response.headers["Retry-After"] = str(math.ceil(min(*known, LONGEST_WAIT)))
    return response


def _status(errors: Collection[Exception]) -> HTTPStatus:
    if errors and all(isinstance(error, UpstreamBusy) for error in errors):
        return HTTPStatus.SERVICE_UNAVAILABLE
    if all(isinstance(error, DeadlineExceeded | UpstreamTimeout) for error in errors):
        return HTTPStatus.GATEWAY_TIMEOUT
    return HTTPStatus.BAD_GATEWAY


@on_loop
def _from_upstream_error(error: UpstreamError | DeadlineExceeded) -> Response:
    log_failure(error)
    if isinstance(error, DeadlineExceeded):
        return upstream_problem([error], "The request ran out of time.")
    detail = f"The upstream {error.upstream} {error.detail}."
    return upstream_problem([error], detail, upstream=error.upstream)


@on_loop
def _from_group(group: ExceptionGroup[Exception]) -> AnyResponse:
    """Answer what `asyncio.TaskGroup` raises as what is inside it, if all of that was expected.

    Raises `group` itself otherwise: it is a bug.
    """
    errors = _inside(group)
    refused = [error for error in errors if isinstance(error, HTTPException)]
    failed = [error for error in errors if isinstance(error, UpstreamError | DeadlineExceeded)]
    if len(refused) + len(failed) < len(errors):
        raise group
    if refused:  # by a view, before any upstream was needed
        return _from_http_exception(refused[0])
    if len(failed) == 1:
        return _from_upstream_error(failed[0])
    for error in failed:
        log_failure(error)
    return upstream_problem(failed, "Several calls of upstreams failed.")


def _inside(error: Exception) -> list[Exception]:
    if not isinstance(error, ExceptionGroup):
        return [error]
    return [leaf for each in error.exceptions for leaf in _inside(each)]
