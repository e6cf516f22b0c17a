"""Fixtures for every test, and the logs of running servers beside every failure."""

import logging
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from flask import Flask
from flask.testing import FlaskClient

from {{ cookiecutter.package_name }}.app import create_app
from {{ cookiecutter.package_name }}.settings import Settings

from . import serving
from .isolation import forget_the_developer

forget_the_developer()


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run async tests on asyncio, as the service does; Python's development mode changes nothing.

    Its checks make every task several times as slow, and tests have a limit of time.
    """
    return "asyncio", {"debug": False}


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fail every test in which something blocks an event loop of this process."""
    with blockbuster_ctx() as guard:
        yield guard


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return an empty folder in which the test may write the `.env` that is read."""
    monkeypatch.setitem(Settings.model_config, "env_file", ".env")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def settings(clean_environment: Path) -> Settings:  # noqa: ARG001 - only its effect is needed
    """Return the settings of a fresh checkout."""
    return Settings()


@pytest.fixture
def unchanged_logging() -> Iterator[None]:
    """Put the process's logging back to what it was before the test."""
    root = logging.getLogger()
    before = [*root.handlers], root.level
    yield
    root.handlers, level = before
    root.setLevel(level)


@pytest.fixture
def app(settings: Settings) -> Flask:
    """Return the application; what its views raise fails the test, if nothing handles it."""
    app = create_app(settings)
    app.config.update(TESTING=True, PROPAGATE_EXCEPTIONS=True)
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Return a client of the application, without a server in between."""
    return app.test_client()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the logs of running servers to the report of a failed test."""
    report = yield
    if report.failed:
        report.sections += [(f"log of {server.url}", server.log) for server in serving.running]
    return report
