"""The headers of every response, and redirects, which never contain the host."""

import pytest
from flask import Flask, redirect
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.app import HEADERS, OVER_TLS


@pytest.fixture
def answering(app: Flask) -> FlaskClient:
    """Return a client of the application with a view for each kind of response."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.add_url_rule("/text/", "text", lambda: "text")
    app.add_url_rule("/broken", "broken", lambda: str(1 / 0))
    app.add_url_rule("/own", "own", lambda: ("", {"X-Content-Type-Options": "own"}))
    app.add_url_rule("/elsewhere", "elsewhere", lambda: redirect("https://other.example/"))
    return app.test_client()


@pytest.mark.parametrize(
    ("path", "status"),
    [("/text/", 200), ("/text", 308), ("/livez", 200), ("/nowhere", 404), ("/broken", 500)],
)
def test_every_response_forbids_content_sniffing(
    answering: FlaskClient, path: str, status: int
) -> None:
    response = answering.get(path)

    assert response.status_code == status
    assert {name: response.headers.getlist(name) for name in HEADERS} == {
        name: [value] for name, value in HEADERS.items()
    }


def test_a_views_own_header_is_kept(answering: FlaskClient) -> None:
    assert answering.get("/own").headers["X-Content-Type-Options"] == "own"


def test_only_a_response_over_tls_requires_tls(answering: FlaskClient) -> None:
    assert "Strict-Transport-Security" not in answering.get("/text/").headers
    over_tls = answering.get("/text/", base_url="https://localhost")
    assert {name: over_tls.headers[name] for name in OVER_TLS} == OVER_TLS


@pytest.mark.parametrize("host", ["host.example", "evil.example:8000", "a%0d", ""])
def test_a_redirect_to_a_slash_never_contains_the_host(answering: FlaskClient, host: str) -> None:
    response = answering.get("/text?a=b", environ_overrides={"HTTP_HOST": host})

    assert response.status_code in {308, 400}
    assert response.headers.get("Location", "/text/?a=b") == "/text/?a=b"


def test_a_views_own_redirect_is_kept(answering: FlaskClient) -> None:
    assert answering.get("/elsewhere").headers["Location"] == "https://other.example/"
