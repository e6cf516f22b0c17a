"""The settings of an issuer, and the application that accepts its tokens."""

from typing import Any

import pytest
from flask import Flask
from flask_guards import AuthSettings, Caller, LocalIssuer, caller, requires
from pydantic import ValidationError

from .issuer import Issuer

REMOTE = {"issuer": "https://login.example", "jwks_url": "https://login.example/keys"}


@pytest.fixture
def app() -> Flask:
    """Return an application with a view that tells its caller."""
    app = Flask("quotes")
    app.add_url_rule("/caller", view_func=requires("read")(lambda: caller().subject))
    return app


def asked(app: Flask, token: str) -> tuple[int, str]:
    """Return the status and the text of the answer to a request with this token."""
    answer = app.test_client().get("/caller", headers={"Authorization": f"Bearer {token}"})
    return answer.status_code, answer.text


def test_tokens_of_the_local_issuer_are_accepted_by_default(app: Flask) -> None:
    settings = AuthSettings()
    found: list[Caller] = []
    settings.init_app(app, found=found.append)

    assert settings.is_local
    assert asked(app, LocalIssuer("quotes").token("me", scopes=["read"])) == (200, "me")
    assert asked(app, LocalIssuer("orders").token("me", scopes=["read"]))[0] == 401
    assert [each.subject for each in found] == ["me"]


def test_the_audience_replaces_the_name_of_the_application(app: Flask) -> None:
    AuthSettings(audience="orders").init_app(app)

    assert asked(app, LocalIssuer("orders").token("me", scopes=["read"])) == (200, "me")
    assert asked(app, LocalIssuer("quotes").token("me", scopes=["read"]))[0] == 401


def test_the_keys_of_another_issuer_are_fetched(app: Flask) -> None:
    issuer = Issuer()
    settings = AuthSettings.model_validate(REMOTE)
    settings.init_app(app, issuer.fetch)

    assert not settings.is_local
    token = issuer.token(iss=REMOTE["issuer"], aud="quotes", sub="me", scope="read")
    assert asked(app, token) == (200, "me")
    assert asked(app, LocalIssuer("quotes").token("me", scopes=["read"]))[0] == 401


def test_the_command_prints_a_token_that_is_accepted(app: Flask) -> None:
    AuthSettings().init_app(app)
    printed = app.test_cli_runner().invoke(args=["token", "--scope", "read"])

    assert asked(app, printed.output.strip()) == (200, "developer")


@pytest.mark.parametrize(
    "given",
    [{"issuer": "https://login.example"}, {"token_type": ""}, {**REMOTE, "jwks_url": "keys"}],
)
def test_a_wrong_value_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AuthSettings.model_validate(given)
