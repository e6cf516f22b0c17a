"""Keeps what a client claims as its host out of redirects."""

from http import HTTPStatus
from urllib.parse import urlsplit

from flask import Response, current_app, redirect, request
from werkzeug.routing import RequestRedirect

from ._marks import on_loop

# What Werkzeug sends a client elsewhere with.
_REDIRECTS = {HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.PERMANENT_REDIRECT}


@on_loop
def without_host(response: Response) -> Response:
    """Take the host out of the address that Flask sends a client to for a slash at the end.

    The host is what the client claimed, and a cache would send others there. A reference without
    one means the same (RFC 9110 section 10.2.2). Where routes have hosts, it may be another one.
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
