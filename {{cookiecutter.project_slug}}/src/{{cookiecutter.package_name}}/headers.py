"""Headers that are the same for every answer, whatever it says."""

from flask import Flask, Response
from flask_asgi import without_host


def init_app(app: Flask) -> None:
    """Add the headers to what the application answers."""
    app.after_request(_add)  # one hook: Flask looks at each anew for every response


def _add(response: Response) -> Response:
    # A browser must not take a reply for a script or a page that its type does not say it is:
    # the Fetch standard, "X-Content-Type-Options header".
    if not response.headers.getlist("X-Content-Type-Options"):  # `setdefault` raises and catches
        response.headers["X-Content-Type-Options"] = "nosniff"
    return without_host(response)
