"""The development page at `/`: compares three waits in sequence with the same three at once."""

import secrets

from flask import Blueprint, Response, current_app, make_response, render_template

bp = Blueprint("home", __name__)


@bp.get("/")
def home() -> Response:
    """Return a page that measures and draws the waits of `/prices`; it loads nothing else."""
    nonce = secrets.token_urlsafe(16)
    name = current_app.name.replace("_", " ").title()
    response = make_response(render_template("home.html", name=name, nonce=nonce))
    # Only scripts and styles with the nonce are used, and they fetch from here only (CSP Level 3).
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    response.headers["Cache-Control"] = "no-store"  # a nonce is valid for one response
    return response
