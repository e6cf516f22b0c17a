"""Fixtures for every test of the library; adds the logs of running servers to every failure."""

import os
import re
from collections.abc import Generator, Iterator

import pytest
from flask import Flask

from tests import serving
from tests.loops import anyio_backend, blockbuster
from tests.properties import load_profile

__all__ = ["anyio_backend", "blockbuster"]  # fixtures

load_profile()

# Variables of the developer's environment that Flask, the servers and their tests read.
_NOT_FOR_TESTS = re.compile(
    r"(FLASK|UVICORN|WERKZEUG|PROMETHEUS)_\w+|WEB_CONCURRENCY|FORWARDED_ALLOW_IPS|ENGINE_OPTIONS"
    r"|OTEL_\w+|LISTEN_(FDS|PID|FDNAMES)|NOTIFY_SOCKET|WATCHDOG_(USEC|PID)"
)


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_a_developer() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in filter(_NOT_FOR_TESTS.fullmatch, list(os.environ)):
            patch.delenv(name)
        yield


@pytest.fixture
def app() -> Flask:
    """Return an application without views; an error of a view fails the test."""
    app = Flask("tested")
    app.testing = True
    app.secret_key = "not a secret"  # noqa: S105 - it is not
    return app


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the logs of running servers to the report of a failed test."""
    report = yield
    if report.failed:
        report.sections += [(f"log of {server.url}", server.log) for server in serving.servers]
    return report
