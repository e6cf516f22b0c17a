"""Fixtures for every test of the library."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.loops import blockbuster
from tests.properties import load_profile

from . import shop

__all__ = ["blockbuster"]  # fixtures

load_profile()


@pytest.fixture
def app() -> Flask:
    """Return an application with a typed view of every kind."""
    return shop.create_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Return a client of the application."""
    return app.test_client()
