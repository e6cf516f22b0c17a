"""Fixtures for every test of the library."""

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from flask import Flask
from flask.testing import FlaskClient

from . import shop


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fail every test in which a call blocks an event loop of this process."""
    with blockbuster_ctx() as guard:
        yield guard


@pytest.fixture
def app() -> Flask:
    """Return an application with a typed view of every kind."""
    return shop.create_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Return a client of it."""
    return app.test_client()
