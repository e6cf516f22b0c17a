"""The pages of a document: from this service only, with a strict policy."""

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from typed_views import document_pages

from . import shop


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of the shop with its pages."""
    app.register_blueprint(document_pages(lambda: shop.document(app)))
    return app.test_client()


def test_the_document_is_generated_once() -> None:
    app = Flask(__name__)
    made = []

    def make() -> dict[str, Any]:
        made.append(1)
        return {"openapi": "3.1.0"}

    app.register_blueprint(document_pages(make))
    client = app.test_client()

    assert made == []
    for _ in range(2):
        response = client.get("/openapi.json")
        assert response.get_json() == {"openapi": "3.1.0"}
        assert response.content_type == "application/json"
    assert made == [1]


def test_the_pages_are_not_in_the_document(client: FlaskClient) -> None:
    paths = client.get("/openapi.json").get_json()["paths"]

    assert "/items/{sku}" in paths
    assert not {path for path in paths if path.startswith(("/docs", "/openapi"))}


def test_the_page_loads_files_of_the_service_only(client: FlaskClient) -> None:
    page = client.get("/docs")

    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert [each for each in loaded if not each.startswith(("docs/", "data:"))] == []
    for each in loaded:
        if each.startswith("docs/"):
            with client.get(f"/{each}") as response:
                assert response.status_code == 200
                assert response.content_type.startswith(("text/javascript", "text/css"))
    assert not re.search(r"<(script|style)[^>]*>[^<]", page.text)
    assert " style=" not in page.text


def test_the_policy_is_strict(client: FlaskClient) -> None:
    policy = client.get("/docs").headers["Content-Security-Policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.parametrize("name", ["index.css", "..%2f__init__.py", "LICENSE", "../openapi.json"])
def test_no_other_file_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/docs/{name}").status_code == 404
