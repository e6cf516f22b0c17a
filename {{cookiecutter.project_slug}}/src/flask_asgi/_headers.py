"""Headers of every response: the application's own, and those that the server needs."""

from collections.abc import Mapping

from flask import Flask, Response, request

from ._marks import on_loop
from ._readiness import Readiness
from ._redirects import without_host


def init_headers(
    app: Flask,
    headers: Mapping[str, str],
    *,
    over_tls: Mapping[str, str],
    readiness: Readiness,
) -> None:
    """Add `headers` to every response of `app`, except where a view has set the same header.

    `Readiness.end_connection` and `without_host` are applied to every response too.

    Args:
        app: the Flask application.
        headers: names and values.
        over_tls: further headers, for responses to requests over TLS.
        readiness: whether the process drains.
    """
    always = [(name, name.lower(), value) for name, value in headers.items()]
    secure = [*always, *((name, name.lower(), value) for name, value in over_tls.items())]

    # One function for all headers: each function of `after_request` costs time in every request.
    @app.after_request
    @on_loop
    def add(response: Response) -> Response:
        added = response.headers
        given = {name.lower() for name, _ in added}  # to ask `added` for each costs more
        for name, key, value in secure if request.is_secure else always:
            if key not in given:
                added.add(name, value)
        return readiness.end_connection(without_host(response))
