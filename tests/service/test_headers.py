"""The header of every response against content sniffing."""

import pytest
from flask import Flask, Response, redirect
from flask.testing import FlaskClient


@pytest.fixture
def answering(app: Flask) -> FlaskClient:
    """Return a client of the application with a view for each kind of response."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.add_url_rule("/text/", "text", lambda: "text")
    app.add_url_rule("/stream", "stream", lambda: Response(iter(["a"])))
    app.add_url_rule("/broken", "broken", lambda: str(1 / 0))
    app.add_url_rule("/elsewhere", "elsewhere", lambda: redirect("https://other.example/"))
    return app.test_client()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/text/", 200),
        ("HEAD", "/text/", 200),
        ("OPTIONS", "/text/", 200),
        ("GET", "/text", 308),
        ("GET", "/stream", 200),
        ("GET", "/livez", 200),
        ("POST", "/livez", 405),
        ("GET", "/broken", 500),
        ("GET", "/elsewhere", 302),
    ],
)
def test_every_response_forbids_content_sniffing(
    answering: FlaskClient, method: str, path: str, status: int
) -> None:
    response = answering.open(path, method=method)

    assert response.status_code == status
    assert response.headers["X-Content-Type-Options"] == "nosniff"
