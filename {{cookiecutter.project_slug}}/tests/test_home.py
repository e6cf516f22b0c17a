"""The development page: it loads nothing else, runs only its own script; off in production."""

import json
import re

from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.app import create_app
from {{ cookiecutter.package_name }}.settings import Settings


def nonces(client: FlaskClient) -> set[str]:
    """Return the nonces of the page's policy and of its elements."""
    response = client.get("/")
    policy = response.headers["Content-Security-Policy"]
    return {*re.findall(r"'nonce-([^']+)'", policy), *re.findall(r'nonce="([^"]+)"', response.text)}


def test_the_page_runs_only_its_own_script_with_a_new_nonce(client: FlaskClient) -> None:
    first, second = nonces(client), nonces(client)

    assert len(first) == len(second) == 1
    assert first != second


def test_the_page_loads_nothing_from_other_hosts(client: FlaskClient) -> None:
    response = client.get("/")

    assert response.content_type == "text/html; charset=utf-8"
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert "//" not in re.sub(r"^//.*$", "", response.text, flags=re.MULTILINE)
    assert not re.search(r"\b(src|style|on\w+)=", response.text)


def test_the_page_links_to_figures_that_exist(client: FlaskClient) -> None:
    [target] = re.findall(r'href="(/[^"]+)"', client.get("/").text)

    assert json.loads(client.get(target.replace("&amp;", "&")).data)["failed"] == {}


def test_production_has_no_page(production: Settings) -> None:
    assert create_app(production).test_client().get("/").status_code == 404
