"""Headers that are the same for every answer, whatever it says."""

from http import HTTPStatus
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, redirect, request
from werkzeug.routing import RequestRedirect

# What Werkzeug sends a client elsewhere with.
_REDIRECTS = {HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.PERMANENT_REDIRECT}


def init_app(app: Flask) -> None:
    """Add the headers to what the application answers."""
    app.after_request(_add)  # one hook: Flask looks at each anew for every response


def _add(response: Response) -> Response:
    # A browser must not take a reply for a script or a page that its type does not say it is:
    # the Fetch standard, "X-Content-Type-Options header".
    if not response.headers.getlist("X-Content-Type-Options"):  # `setdefault` raises and catches
        response.headers["X-Content-Type-Options"] = "nosniff"
    if response.status_code in _REDIRECTS:
        _stay_on_this_host(response)
    return response


def _stay_on_this_host(response: Response) -> None:
    """Take the host out of the address that Flask sends a client to for a slash at the end.

    The host is what the client claimed, and a cache would send others there. A reference without
    one means the same (RFC 9110 section 10.2.2). Where routes have hosts, it may be another one.
    """
    routes = current_app.url_map
    if (
        isinstance(request.routing_exception, RequestRedirect)
        and not routes.host_matching
        and not current_app.subdomain_matching
    ):
        target = urlsplit(request.routing_exception.new_url)
        path = "/" + target.path.lstrip("/")  # two slashes would begin with a host
        location = f"{path}?{target.query}" if target.query else path
        response.headers["Location"] = location
        response.data = redirect(location).data
