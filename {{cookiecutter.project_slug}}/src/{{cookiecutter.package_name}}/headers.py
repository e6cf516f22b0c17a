"""Headers that are the same for every answer, whatever it says."""

from urllib.parse import urlsplit

from flask import Flask, Response, redirect, request
from werkzeug.routing import RequestRedirect


def init_app(app: Flask) -> None:
    """Add the headers to what the application answers."""
    app.after_request(_forbid_guessing)
    app.after_request(_stay_on_this_host)


def _forbid_guessing(response: Response) -> Response:
    # A browser must not take a reply for a script or a page that its type does not say it is:
    # the Fetch standard, "X-Content-Type-Options header".
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


def _stay_on_this_host(response: Response) -> Response:
    """Take the host out of the address that Flask sends a client to for a slash at the end.

    The host is what the client claimed, and a cache would send others there. A reference without
    one means the same (RFC 9110 section 10.2.2).
    """
    if isinstance(request.routing_exception, RequestRedirect):
        target = urlsplit(response.headers["Location"])
        if target.netloc == request.host:
            # Two slashes at the start would be a host.
            path = "/" + target.path.lstrip("/")
            location = f"{path}?{target.query}" if target.query else path
            response.headers["Location"] = location
            response.data = redirect(location).data
    return response
