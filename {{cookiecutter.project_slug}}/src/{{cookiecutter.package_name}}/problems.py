"""Every error leaves the service as `application/problem+json` (RFC 9457)."""

import math
from collections.abc import Collection
from http import HTTPStatus

from flask import Flask, Response
from flask_asgi import ABOUT_BLANK, handle_errors, init_problems, on_loop, problem
from typed_views import InvalidRequest, Problem
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

# The types of problems that upstreams cause. They are names, not addresses; RFC 9457 section 3.1.1
# allows that.
UPSTREAM_TYPES: dict[type[Exception], str] = {
    DeadlineExceeded: "urn:problem-type:deadline-exceeded",
    UpstreamTimeout: "urn:problem-type:upstream-timeout",
    UpstreamBusy: "urn:problem-type:upstream-busy",
    UpstreamUnavailable: "urn:problem-type:upstream-unavailable",
    UpstreamRejected: "urn:problem-type:upstream-rejected",
    UpstreamInvalid: "urn:problem-type:upstream-invalid",
}

# The same for the OpenAPI document of a view that calls upstreams.
UPSTREAM_PROBLEMS = (
    Problem(502, "An upstream fails or cannot be reached.", UPSTREAM_TYPES[UpstreamUnavailable]),
    Problem(502, "An upstream refused a call.", UPSTREAM_TYPES[UpstreamRejected]),
    Problem(502, "An upstream sent an invalid reply.", UPSTREAM_TYPES[UpstreamInvalid]),
    Problem(503, "Too many calls wait for an upstream.", UPSTREAM_TYPES[UpstreamBusy]),
    Problem(504, "An upstream did not answer in time.", UPSTREAM_TYPES[UpstreamTimeout]),
    Problem(504, "The request ran out of time.", UPSTREAM_TYPES[DeadlineExceeded]),
)


def init_app(app: Flask) -> None:
    """Turn the errors that views or Flask itself raise into problems."""
    init_problems(app)
    app.register_error_handler(InvalidRequest, _from_faults)
    handle_errors(app, _from_failures, UpstreamError, DeadlineExceeded)


def upstream_problem(errors: Collection[Exception], detail: str, **members: object) -> Response:
    """Return the problem for a request whose upstream calls failed with these `errors`.

    503 if this service made too many calls (`UpstreamBusy`), 504 if all of them ran out of time,
    otherwise 502 (RFC 9110 sections 15.6.3 to 15.6.5). If the errors share a type, the problem has
    it. If an upstream sent a `Retry-After`, the response has one.
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
def _from_faults(error: InvalidRequest) -> Response:
    """Answer a request that does not match its view's declaration."""
    return problem(422, str(error.description), kind=error.kind, errors=error.errors)


@on_loop
def _from_failures(errors: list[Exception]) -> Response:
    """Answer a request in which a call failed, or several calls in one `asyncio.TaskGroup`."""
    for error in errors:
        log_failure(error)
    if len(errors) > 1:
        return upstream_problem(errors, "Several calls of upstreams failed.")
    if isinstance(error := errors[0], UpstreamError):
        detail = f"The upstream {error.upstream} {error.detail}."
        return upstream_problem(errors, detail, upstream=error.upstream)
    return upstream_problem(errors, "The request ran out of time.")
