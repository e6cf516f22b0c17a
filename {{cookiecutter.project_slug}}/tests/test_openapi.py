"""The OpenAPI document: committed as it is served, and served where it is asked for."""

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from typed_views import document_text
from upstreams import SettingsError

from {{ cookiecutter.package_name }} import openapi
from {{ cookiecutter.package_name }}.app import create_app
from {{ cookiecutter.package_name }}.settings import Settings, load_settings

from .serving import ROOT

COMMITTED = ROOT / "openapi.json"
COMMAND = f"uv run flask --app {openapi.__package__}.app openapi > openapi.json"


def test_the_committed_document_is_that_of_the_views(app: Flask) -> None:
    """Before there is a typed view, there need be none."""
    document = openapi.document(app)
    expected = document_text(document) if document["paths"] else ""
    committed = COMMITTED.read_text(encoding="utf-8") if COMMITTED.exists() else ""

    assert expected == committed, f"run `{COMMAND}`, and look whether the change breaks callers"


def test_development_has_the_document_and_a_page_of_it(app: Flask, client: FlaskClient) -> None:
    response = client.get("/openapi.json")

    assert response.text == document_text(openapi.document(app))
    assert response.text == app.test_cli_runner().invoke(args=["openapi"]).output
    assert response.content_type == "application/json"
    page = client.get("/docs")
    assert "swagger-ui-bundle.js" in page.text
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; ")


def test_production_has_neither_unless_a_setting_asks(clean_environment: Path) -> None:
    (clean_environment / ".env").write_text("ENVIRONMENT=production", encoding="utf-8")
    required = {name: {"base_url": "http://upstream.invalid"} for name in upstreams()}
    for asked, status in ((None, 404), (True, 200)):
        settings = load_settings(**required, **({} if asked is None else {"api_docs": asked}))
        client = create_app(settings).test_client()

        assert client.get("/openapi.json").status_code == status
        assert client.get("/docs").status_code == status


def upstreams() -> list[str]:
    """Return the names of the settings of upstreams, which production must have."""
    return [
        name for name, field in Settings.model_fields.items() if hasattr(field.default, "base_url")
    ]


def test_to_ask_for_the_page_without_its_package_is_refused(
    clean_environment: Path,  # noqa: ARG001 - only its effect is needed
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{Settings.__module__}.find_spec", lambda _name: None)

    assert load_settings().api_docs is False
    with pytest.raises(SettingsError, match="API_DOCS needs the package flask-swagger-ui"):
        load_settings(api_docs="true")
