"""Keeps the host that a client claims out of redirects."""

from http import HTTPStatus
from urllib.parse import urlsplit

from flask import Response, current_app, redirect, request
from werkzeug.routing import RequestRedirect

from ._marks import on_loop

# The statuses of Werkzeug's redirects.
_REDIRECTS = {HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.PERMANENT_REDIRECT}


@on_loop
def without_host(response: Response) -> Response:
    """Remove the host from the address of Flask's redirect to a URL with a slash at its end.

    That host is the client's claim, and a cache would send others there. A reference without a host
    means the same (RFC 9110 section 10.2.2). If routes have hosts, the target may be another host.
    """
    if (
        response.status_code in _REDIRECTS
        and isinstance(request.routing_exception, RequestRedirect)
        and not current_app.url_map.host_matching
        and not current_app.subdomain_matching
    ):
        target = urlsplit(request.routing_exception.new_url)
        path = "/" + target.path.lstrip("/")  # two slashes would begin with a host
        location = f"{path}?{target.query}" if target.query else path
        response.headers["Location"] = location
        response.data = redirect(location).data
    return response
