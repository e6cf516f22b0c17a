"""Every error leaves the service as `application/problem+json` (RFC 9457)."""

import logging
from http import HTTPStatus
from urllib.parse import quote

from flask import Flask, Response, current_app, g, jsonify, request
from werkzeug.exceptions import HTTPException, InternalServerError

from .clients.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable

logger = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Turn what views raise into problems, and so what Flask itself refuses."""
    # In debug mode Flask would let an exception through to the server, which answers in plain text.
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.register_error_handler(HTTPException, _from_http_exception)
    app.register_error_handler(UpstreamError, _from_upstream_error)


def problem(status: int, detail: str, **members: object) -> Response:
    """Return a response that describes one occurrence of a problem.

    `detail` says in a sentence what went wrong this time, and must be fit for the client's eyes;
    `members` are further members of the object (RFC 9457 section 3.2). The problem has no type of
    its own, so its title is the phrase of its `status` (section 4.2.1).
    """
    response = jsonify(
        type="about:blank",
        title=_phrase(status),
        status=status,
        detail=detail,
        instance=quote(request.root_path + request.path),
        request_id=g.get("request_id"),
        **members,
    )
    response.status_code = status
    response.content_type = "application/problem+json"
    return response


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown Error"


def _from_http_exception(error: HTTPException) -> Response:
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
    return error.description or _phrase(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)


def _from_upstream_error(error: UpstreamError) -> Response:
    logger.warning("%s", error, extra={"upstream": error.upstream}, exc_info=error.__cause__)
    detail = f"The upstream {error.upstream} {error.detail}."
    return problem(_upstream_status(error), detail, upstream=error.upstream)


def _upstream_status(error: UpstreamError) -> HTTPStatus:
    # RFC 9110 sections 15.6.3 to 15.6.5. Of these, 502 is the one that trying again does not help.
    match error:
        case UpstreamTimeout():
            return HTTPStatus.GATEWAY_TIMEOUT
        case UpstreamUnavailable():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            return HTTPStatus.BAD_GATEWAY
