"""Tokens, rate limits, hosts and origins follow the settings."""

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_guards import caller, rate_limit, requires

from {{ cookiecutter.package_name }} import settings as settings_module
from {{ cookiecutter.package_name }}.app import create_app
from {{ cookiecutter.package_name }}.settings import Settings, load_settings

from .conftest import Lines
from .test_settings import refused


def guarded(app: Flask) -> FlaskClient:
    """Return a client of `app` with a guarded view."""

    @app.get("/whoami")
    @requires("reading")
    @rate_limit("2/minute")
    async def whoami() -> str:
        return caller().subject

    return app.test_client()


def token(app: Flask, *arguments: str) -> str:
    """Return a token, printed by the service's command, as the value of the header."""
    printed = app.test_cli_runner().invoke(args=["token", "--subject", "someone", *arguments])
    assert printed.exit_code == 0, printed.output
    return f"Bearer {printed.output.strip()}"


def test_a_token_of_the_command_is_accepted_and_its_subject_logged(
    app: Flask, lines: Lines
) -> None:
    headers = {"Authorization": token(app, "--scope", "reading", "--scope", "writing")}
    client = guarded(app)

    assert client.get("/whoami").status_code == 401
    assert client.get("/whoami", headers=headers).text == "someone"
    [shut_out, let_in] = lines(f"{create_app.__module__.partition('.')[0]}.logs.access")
    assert "subject" not in shut_out
    assert let_in["subject"] == "someone"
    assert headers["Authorization"].split()[1] not in str(let_in)


def test_production_needs_allowed_hosts() -> None:
    said = refused(environment="production")

    assert any(each.startswith("ALLOWED_HOSTS must be set when ENVIRONMENT is ") for each in said)


def test_only_allowed_hosts_are_served_except_for_health_checks(settings: Settings) -> None:
    hosts = {"allowed_hosts": "api.example.com,.example.org"}
    client = create_app(settings.model_copy(update=hosts)).test_client()

    def status(path: str, host: str) -> int:
        return client.get(path, headers={"Host": host}).status_code

    assert status("/nothing", "api.example.com:8000") == status("/nothing", "a.example.org") == 404
    assert status("/nothing", "example.com") == status("/nothing", "api.example.com.evil") == 400
    assert status("/livez", "10.0.0.7:8000") == status("/readyz", "10.0.0.7") == 200


def test_only_configured_origins_may_read_responses(settings: Settings) -> None:
    origins = settings.model_copy(update={"cors_origins": "https://app.example.com"})
    headers = {"Origin": "https://app.example.com"}
    name = "Access-Control-Allow-Origin"

    assert name not in create_app(settings).test_client().get("/livez", headers=headers).headers
    client = create_app(origins).test_client()
    assert client.get("/livez", headers=headers).headers[name] == "https://app.example.com"
    assert name not in client.get("/livez", headers={"Origin": "https://evil.example"}).headers


def test_sessions_need_a_key_only_in_production(
    monkeypatch: pytest.MonkeyPatch,
    clean_environment: Path,  # noqa: ARG001 - only its effect is needed
) -> None:
    assert load_settings().secret_key is None

    monkeypatch.setattr(settings_module, "USES_SESSIONS", True)
    assert create_app(load_settings()).secret_key
    said = refused(environment="production")
    assert any(each.startswith("SECRET_KEY must be set when ENVIRONMENT is ") for each in said)
    said = refused(environment="production", secret_key="k" * 32)
    assert not any(each.startswith("SECRET_KEY") for each in said)
