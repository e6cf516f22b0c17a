"""The headers that every response has."""

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from flask_asgi import Readiness, init_headers

HEADERS = {"X-One": "1", "X-Two": "2"}
OVER_TLS = {"X-Secure": "yes"}


@pytest.fixture
def readiness() -> Readiness:
    """Return the readiness of a process that serves."""
    readiness = Readiness()
    readiness.ready()
    return readiness


@pytest.fixture
def client(app: Flask, readiness: Readiness) -> FlaskClient:
    """Return a client of an application with these headers."""
    init_headers(app, HEADERS, over_tls=OVER_TLS, readiness=readiness)
    app.testing = False
    app.add_url_rule("/slash/", "slash", lambda: "text")
    app.add_url_rule("/broken", "broken", lambda: str(1 / 0))
    app.add_url_rule("/own", "own", lambda: Response(headers={"x-one": "own", "X-SECURE": "own"}))
    return app.test_client()


@pytest.mark.parametrize(
    ("path", "status"), [("/slash/", 200), ("/slash", 308), ("/nowhere", 404), ("/broken", 500)]
)
def test_every_response_has_them_once(client: FlaskClient, path: str, status: int) -> None:
    response = client.get(path)

    assert response.status_code == status
    for name, value in HEADERS.items():
        assert response.headers.getlist(name) == [value]
    assert "X-Secure" not in response.headers


def test_a_response_over_tls_has_those_for_tls_too(client: FlaskClient) -> None:
    headers = client.get("/slash/", base_url="https://localhost").headers

    assert {name: headers[name] for name in HEADERS | OVER_TLS} == HEADERS | OVER_TLS


def test_the_header_of_a_view_is_kept_in_any_case(client: FlaskClient) -> None:
    headers = client.get("/own", base_url="https://localhost").headers

    assert headers.getlist("X-One") == ["own"]
    assert headers.getlist("X-Two") == ["2"]
    assert headers.getlist("X-Secure") == ["own"]


def test_the_redirect_to_a_slash_has_no_host(client: FlaskClient) -> None:
    response = client.get("/slash", base_url="http://claimed.example")

    assert response.headers["Location"] == "/slash/"


def test_only_a_draining_process_ends_connections(
    client: FlaskClient, readiness: Readiness
) -> None:
    assert "Connection" not in client.get("/slash/").headers
    readiness.draining()

    assert client.get("/slash/").headers["Connection"] == "close"
