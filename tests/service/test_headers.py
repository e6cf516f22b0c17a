"""Headers that every answer has, and one that none has."""

from typing import Any
from urllib.parse import unquote

import pytest
from flask import Flask, Response, redirect
from flask.testing import FlaskClient

EVIL = "evil.example"


@pytest.fixture
def answering(app: Flask) -> FlaskClient:
    """Return a client of the application with a view for each kind of answer."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.add_url_rule("/text/", "text", lambda: "text")
    app.add_url_rule("/stream", "stream", lambda: Response(iter(["a"])))
    app.add_url_rule("/broken", "broken", lambda: str(1 / 0))
    app.add_url_rule("/own", "own", lambda: ("", {"X-Content-Type-Options": "own"}))
    app.add_url_rule("/elsewhere", "elsewhere", lambda: redirect(f"https://{EVIL}/"))
    app.add_url_rule("/<path:rest>/", "rest", lambda rest: rest)
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
def test_no_answer_may_be_taken_for_another_type(
    answering: FlaskClient, method: str, path: str, status: int
) -> None:
    response = answering.open(path, method=method)

    assert response.status_code == status
    assert response.headers["X-Content-Type-Options"] == "nosniff"


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
def test_a_slash_at_the_end_leads_to_the_same_host_and_does_not_repeat_it(
    answering: FlaskClient, path: str, location: str, root: str
) -> None:
    path, _, query = path.partition("?")
    given: dict[str, Any] = {
        "PATH_INFO": unquote(path, "latin-1"),
        "QUERY_STRING": query,
        "SCRIPT_NAME": root,
    }

    response = answering.get(headers={"Host": "host.example"}, environ_overrides=given)

    assert response.status_code == 308
    assert response.headers["Location"] == root + location
    assert "host.example" not in response.text
    assert not response.headers["Location"].startswith(("//", "/\\"))


@pytest.mark.parametrize(
    "host",
    ["A.Example", "a.example:8000", "[::1]", "[", "a@b", "a/b", "a?b", "a#b", "\xe9", "", "a%0d"],
)
def test_no_host_gets_into_the_address(answering: FlaskClient, host: str) -> None:
    response = answering.get("/text", environ_overrides={"HTTP_HOST": host})

    assert response.status_code in {308, 400}
    assert response.headers.get("Location", "/text/") == "/text/"
