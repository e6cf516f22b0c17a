"""Renders a plain response to WSGI, without the copies that Werkzeug makes for all other kinds.

`Response.__call__` asks its object for the body, the status and the headers, which are
`get_wsgi_response`. For any response Werkzeug copies the headers, corrects some of them, and wraps
the body in iterators. A plain response needs none of that, and most responses are plain.
"""

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Response
from werkzeug.datastructures import Headers
from werkzeug.wrappers import Response as WerkzeugResponse

from ._memo import Memo

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_METHOD = "get_wsgi_response"

# The attributes with which Werkzeug renders a response. A class or an object that overrides one of
# them is not plain.
_OF_WERKZEUG = {
    name: getattr(WerkzeugResponse, name)
    for name in (
        *("__call__", _METHOD, "get_wsgi_headers", "get_app_iter", "iter_encoded", "close"),
        *("is_sequence", "status", "status_code"),
    )
}

# Headers whose values Werkzeug may correct.
_CORRECTED = {"location", "content-location"}

# Statuses below are 1xx, which have no body either: RFC 9110 sections 15.2, 15.3.5 and 15.4.5.
_LEAST_FINAL = 200
_WITHOUT_BODY = {204, 304}


def render_plainly(response: Response) -> None:
    """Let `response` skip the steps that a plain response does not need, at its next rendering.

    The check for a plain response is made then, as its headers and its body can change until then.
    """
    kind = type(response)
    if (is_plain := _plain_classes.get(kind)) is None:
        is_plain = _is_plain_class(kind)
    if is_plain and _OF_WERKZEUG.keys().isdisjoint(vars(response)):
        vars(response)[_METHOD] = functools.partial(_render, response)


def _render(
    response: Response, environ: "WSGIEnvironment"
) -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
    vars(response).pop(_METHOD, None)  # it refers to the response: together they form a cycle
    headers, status = response.headers, response.status_code
    parts: Any = response.response
    is_plain = (
        type(parts) is list
        and len(parts) == 1
        and type(parts[0]) is bytes
        and type(headers) is Headers
        and status >= _LEAST_FINAL
        and status not in _WITHOUT_BODY
        and not response.direct_passthrough
        and not response._on_close  # noqa: SLF001 - the functions of `call_on_close`
        and environ["REQUEST_METHOD"] != "HEAD"
    )
    if is_plain and _needs_no_correction(headers, len(parts[0])):
        return parts, response.status, list(headers)
    return response.get_wsgi_response(environ)


def _needs_no_correction(headers: Headers, length: int) -> bool:
    announced = None
    for name, value in headers:
        lowered = name.lower()
        if lowered in _CORRECTED:
            return False
        if lowered == "content-length":
            announced = value
    return announced == str(length)


def _is_plain_class(kind: type[Response]) -> bool:
    is_plain = all(getattr(kind, name) is code for name, code in _OF_WERKZEUG.items())
    return _plain_classes.keep(kind, is_plain)


# An application has few classes of responses.
_plain_classes: Memo[type[Response], bool] = Memo(most=64, longest=0)
