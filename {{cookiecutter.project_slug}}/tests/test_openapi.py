"""The OpenAPI document: the committed copy equals the served one, if the settings serve it."""

import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_guards import is_limited, required_scopes
from typed_views import document_text
from upstreams import SettingsError

from {{ cookiecutter.package_name }} import openapi
from {{ cookiecutter.package_name }}.app import create_app
from {{ cookiecutter.package_name }}.settings import Settings, load_settings

from .serving import ROOT

COMMITTED = ROOT / "openapi.json"
COMMAND = f"uv run flask --app {openapi.__package__}.app openapi > openapi.json"


def test_the_committed_document_matches_the_views(app: Flask) -> None:
    """Without typed views a committed document is not required."""
    document = openapi.document(app)
    expected = document_text(document) if document["paths"] else ""
    committed = COMMITTED.read_text(encoding="utf-8") if COMMITTED.exists() else ""

    assert expected == committed, f"run `{COMMAND}`, and check whether the change breaks callers"


def test_development_serves_the_document_and_its_page(app: Flask, client: FlaskClient) -> None:
    response = client.get("/openapi.json")

    assert response.text == document_text(openapi.document(app))
    assert response.text == app.test_cli_runner().invoke(args=["openapi"]).output
    assert response.content_type == "application/json"
    page = client.get("/docs")
    assert "swagger-ui-bundle.js" in page.text
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; ")


def test_production_serves_the_document_only_with_a_setting(production: Settings) -> None:
    assert Settings.model_construct(environment="production").api_docs is False
    for asked, status in ((False, 404), (True, 200)):
        app = create_app(production.model_copy(update={"api_docs": asked}))

        assert app.test_client().get("/openapi.json").status_code == status
        assert app.test_client().get("/docs").status_code == status


def test_the_document_has_the_required_token_of_each_view(app: Flask) -> None:
    paths = openapi.document(app)["paths"]
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        scopes = required_scopes(view)
        operations = paths.get(re.sub(r"<(?:[^<>]*:)?([^<>]+)>", r"{\1}", rule.rule), {})
        for method in {each.lower() for each in rule.methods or ()} & operations.keys():
            said = operations[method].get("security", [])

            assert said == ([] if scopes is None else [{"bearer": [*scopes]}]), rule
            assert is_limited(view) == ("429" in operations[method]["responses"]), rule


def test_api_docs_without_its_package_is_refused(
    clean_environment: Path,  # noqa: ARG001 - only its effect is needed
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{Settings.__module__}.find_spec", lambda _name: None)

    assert load_settings().api_docs is False
    with pytest.raises(SettingsError, match="API_DOCS needs the package flask-swagger-ui"):
        load_settings(api_docs="true")
