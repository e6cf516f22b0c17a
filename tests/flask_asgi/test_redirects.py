"""A redirect never contains the host that a client claims."""

from urllib.parse import unquote

import pytest
from flask import Flask, redirect
from flask.testing import FlaskClient
from flask_asgi import without_host

EVIL = "evil.example"


@pytest.fixture
def client() -> FlaskClient:
    """A client of an application whose redirects have no host."""
    app = Flask("tested")
    app.after_request(without_host)
    app.add_url_rule("/text/", "text", lambda: "text")
    app.add_url_rule("/elsewhere", "elsewhere", lambda: redirect(f"https://{EVIL}/", 301))
    app.add_url_rule("/<path:rest>/", "rest", lambda rest: rest)
    return app.test_client()


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/text", "/text/"),
        ("/text?a=b&c=%2F", "/text/?a=b&c=%2F"),
        (f"//{EVIL}/a", f"/{EVIL}/a/"),
        (f"///{EVIL}", f"/{EVIL}/"),
        ("/caf%C3%A9", "/caf%C3%A9/"),
        ("/a%3Fb%23c", "/a%3Fb%23c/"),
        ("/%5C%5Cevil.example", "/%5C%5Cevil.example/"),
    ],
)
@pytest.mark.parametrize("root", ["", "/prices"])
def test_a_redirect_to_a_trailing_slash_has_no_host(
    client: FlaskClient, path: str, location: str, root: str
) -> None:
    path, _, query = path.partition("?")

    response = client.get(
        headers={"Host": "host.example"},
        environ_overrides={
            "PATH_INFO": unquote(path, "latin-1"),
            "QUERY_STRING": query,
            "SCRIPT_NAME": root,
        },
    )

    assert response.status_code == 308
    assert response.headers["Location"] == root + location
    assert "host.example" not in response.text
    assert not response.headers["Location"].startswith(("//", "/\\"))


@pytest.mark.parametrize(
    "host",
    ["A.Example", "a.example:8000", "[::1]", "[", "a@b", "a/b", "a?b", "a#b", "\xe9", "", "a%0d"],
)
def test_no_host_header_gets_into_a_location(client: FlaskClient, host: str) -> None:
    response = client.get("/text", environ_overrides={"HTTP_HOST": host})

    assert response.status_code in {308, 400}
    assert response.headers.get("Location", "/text/") == "/text/"


def test_a_views_own_redirect_is_kept(client: FlaskClient) -> None:
    assert client.get("/elsewhere").headers["Location"] == f"https://{EVIL}/"


def test_a_redirect_with_host_matching_keeps_its_host() -> None:
    app = Flask("tested", host_matching=True, static_folder=None)
    app.after_request(without_host)
    app.add_url_rule("/text/", "text", lambda: "text", host="a.example")

    response = app.test_client().get("/text", headers={"Host": "a.example"})

    assert response.headers["Location"] == "http://a.example/text/"
