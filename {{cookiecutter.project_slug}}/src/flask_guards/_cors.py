"""Lets scripts of other sites read the responses: CORS, as in the Fetch standard."""

import re
from collections.abc import Callable, Iterable

from flask import Response, request

# Seconds that a browser may keep the answer to a preflight. Chromium takes no more than 7,200.
MAX_AGE = 600

# Headers that scripts may read in addition to those that the standard allows.
EXPOSED = "RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-ID"

# For requests without cookies `*` means every header except `Authorization`.
ALLOWED = "*, Authorization"

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?")


def cors(origins: Iterable[str]) -> Callable[[Response], Response]:
    """Return a function for `after_request` that lets scripts of these `origins` read answers.

    It works with tokens, not with cookies: no answer has `Access-Control-Allow-Credentials`, so a
    browser hides the answer to a request with a cookie from the script.

    Flask answers a preflight, an `OPTIONS` request, by itself, before any check of a token.

    Args:
        origins: such as `https://app.example.com`, or `*` for all.

    Raises:
        ValueError: one of them is not an origin.
    """
    known = {origin(each) for each in origins}
    is_for_all = "*" in known

    def add(response: Response) -> Response:
        headers = response.headers
        if not is_for_all:
            response.vary.add("Origin")  # or a cache would give one site's answer to another
        given = request.headers.get("Origin")
        if given is None or not (is_for_all or given in known):
            return response
        headers["Access-Control-Allow-Origin"] = "*" if is_for_all else given
        headers["Access-Control-Expose-Headers"] = EXPOSED
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            headers["Access-Control-Allow-Methods"] = headers.get("Allow", "")
            headers["Access-Control-Allow-Headers"] = ALLOWED
            headers["Access-Control-Max-Age"] = str(MAX_AGE)
        return response

    return add


def origin(text: str) -> str:
    """Return an origin as browsers write it (RFC 6454 section 6.2), or `*`.

    Raises:
        ValueError: it is not an origin: it has a path, for example.
    """
    found = text.strip().lower()
    if found != "*" and not _ORIGIN.fullmatch(found):
        message = "must be origins such as https://app.example.com, without a path, or *"
        raise ValueError(message)
    return found
