"""Which sites' scripts may read responses, by the Fetch standard."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_guards import cors, origin
from flask_guards._cors import ALLOWED, EXPOSED
from werkzeug.datastructures import Headers

APP = "https://app.example.com"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-any"}


def shared(*origins: str) -> FlaskClient:
    """Return a client of an application that allows these origins."""
    app = Flask("shared")
    app.after_request(cors(origins))
    app.add_url_rule("/", "root", lambda: "", methods=["POST"])
    app.add_url_rule("/broken", "broken", lambda: str(1 / 0))
    app.add_url_rule("/varied", "varied", lambda: ("", {"Vary": "Accept"}))
    return app.test_client()


def cors_of(headers: Headers) -> dict[str, str]:
    """Return the CORS headers among these headers."""
    return {name: text for name, text in headers if name.startswith("Access-Control-")}


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/broken", 500), ("/nothing", 404)])
def test_an_allowed_origin_may_read_every_response(path: str, status: int) -> None:
    method = "POST" if path == "/" else "GET"
    response = shared(APP).open(path, method=method, headers={"Origin": APP})

    assert response.status_code == status
    assert response.headers["Vary"] == "Origin"
    assert cors_of(response.headers) == {
        "Access-Control-Allow-Origin": APP,
        "Access-Control-Expose-Headers": EXPOSED,
    }


def test_a_preflight_response_lists_methods_and_headers() -> None:
    response = shared(APP).options("/", headers={"Origin": APP, **PREFLIGHT})

    assert response.status_code == 200
    told = cors_of(response.headers)
    assert set(told.pop("Access-Control-Allow-Methods").split(", ")) == {"OPTIONS", "POST"}
    assert told == {
        "Access-Control-Allow-Origin": APP,
        "Access-Control-Expose-Headers": EXPOSED,
        "Access-Control-Allow-Headers": ALLOWED,
        "Access-Control-Max-Age": "600",
    }


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "null",
        "http://app.example.com",
        "https://app.example.com:444",
        "https://app.example.com.evil.example",
        "https://evil.example?https://app.example.com",
        "https://APP.example.com",  # browsers send lower case
        "*",
    ],
)
def test_any_other_origin_may_not_read_a_response(given: str | None) -> None:
    headers = PREFLIGHT if given is None else PREFLIGHT | {"Origin": given}
    for method in ("POST", "OPTIONS"):
        response = shared(APP, "https://other.example").open("/", method=method, headers=headers)

        assert cors_of(response.headers) == {}
        assert response.headers["Vary"] == "Origin"  # an allowed origin gets another response


def test_a_star_allows_every_origin_without_vary() -> None:
    response = shared("*").post("/", headers={"Origin": "https://any.example"})

    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "Vary" not in response.headers


def test_the_vary_header_of_a_view_is_kept() -> None:
    assert {*shared(APP).get("/varied").vary} == {"Accept", "Origin"}


def test_a_response_never_allows_credentials() -> None:
    for origins in ((APP,), ("*",)):
        response = shared(*origins).options("/", headers={"Origin": APP, **PREFLIGHT})

        assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize(
    "text",
    [
        "",
        "app.example.com",
        "https://",
        "https://app.example.com/",
        "https://app.example.com/path",
        "https://*.example.com",
        "https://app.example.com:",
        "https://app.example.com:123456",
        "https://user@app.example.com",
        "null",
        "https://a b",
    ],
)
def test_an_invalid_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be origins such as https://app\.example\.com, "):
        origin(text)
    with pytest.raises(ValueError, match="must be origins"):
        cors([text])


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (" HTTPS://App.Example.com ", APP),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("*", "*"),
    ],
)
def test_an_origin_is_normalised_like_in_browsers(text: str, written: str) -> None:
    assert origin(text) == written
