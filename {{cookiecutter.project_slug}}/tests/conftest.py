"""Fixtures for every test; adds the logs of running servers to every failure."""

import json
import logging
import sys
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import httpx
import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from flask import Flask
from flask.testing import FlaskClient
from flask_asgi import RunningServer, serve_in_thread
from flask_guards import AuthSettings
from pydantic import HttpUrl

from {{ cookiecutter.package_name }} import logs
from {{ cookiecutter.package_name }}.app import create_app, create_asgi
from {{ cookiecutter.package_name }}.settings import Settings

from . import serving
from .isolation import forget_the_developer

T = TypeVar("T")

forget_the_developer()

# Packages that are imported at their first use are imported here: on an event loop, `blockbuster`
# would refuse the files that redis and OpenTelemetry read at their import.
for name in ("redis.asyncio", "opentelemetry.context"):
    with suppress(ModuleNotFoundError):
        import_module(name)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run async tests on asyncio, as the service does, without asyncio's debug mode.

    Its checks make every task several times as slow, and tests have a time limit.
    """
    return "asyncio", {"debug": False}


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fail every test in which a call blocks an event loop of this process."""
    with blockbuster_ctx() as guard:
        yield guard


@pytest.fixture(scope="session", autouse=True)
def _cached_bytecode() -> Iterator[None]:
    """Let the services that tests start share a folder of bytecode, if they may not write bytecode.

    Otherwise each would compile all its imports, which takes longer than its test.
    """
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        if sys.dont_write_bytecode:
            patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
            patch.setenv("PYTHONPYCACHEPREFIX", folder)
        yield


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
def production(settings: Settings) -> Settings:
    """Return settings of production; no test asks their issuer for its keys."""
    auth = AuthSettings(
        issuer="https://login.example.com/", jwks_url=HttpUrl("http://login.invalid/keys")
    )
    return settings.model_copy(
        update={"environment": "production", "api_docs": False, "auth": auth}
    )


@pytest.fixture
def app(settings: Settings) -> Flask:
    """Return the application; an unhandled error of a view fails the test."""
    app = create_app(settings)
    app.config.update(TESTING=True, PROPAGATE_EXCEPTIONS=True)
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Return a client of the application, without a server in between."""
    return app.test_client()


class LiveClient(httpx.Client):
    """A client of the application as it runs in production: one loop, with its lifespan open."""

    def __init__(self, server: RunningServer) -> None:
        # Without `verify` it would read all certificate authorities, for HTTP.
        super().__init__(base_url=server.url, timeout=serving.PATIENCE, verify=False)
        self._server = server

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the result of `coroutine`, which runs on the loop of the views."""
        return self._server.run(coroutine)


@pytest.fixture
def live_client(app: Flask) -> Iterator[LiveClient]:
    """Return a client of `app` on a real server in a thread.

    It is for background work, streams and resources of the lifespan. A view can be added to `app`
    until the first request, a resource in a fixture that overrides `app`.
    """
    app.config["PROPAGATE_EXCEPTIONS"] = False  # the client gets an answer
    with serve_in_thread(create_asgi(app)) as server, LiveClient(server) as client:
        yield client


@pytest.fixture
def unchanged_logging() -> Iterator[None]:
    """Restore the process's logging after the test."""
    root = logging.getLogger()
    before = [*root.handlers], root.level
    yield
    root.handlers, level = before
    root.setLevel(level)


Lines = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def lines(
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    unchanged_logging: None,  # noqa: ARG001 - only its effect is needed
) -> Lines:
    """Log as JSON, and return a function that returns a logger's lines so far, by its name."""
    logs.configure(settings.model_copy(update={"log_format": "json"}))
    written: list[dict[str, Any]] = []

    def of(name: str) -> list[dict[str, Any]]:
        written.extend(map(json.loads, capsys.readouterr().err.splitlines()))
        return [line for line in written if line["logger"].startswith(name)]

    return of


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the logs of running servers to the report of a failed test."""
    report = yield
    if report.failed:
        report.sections += [(f"log of {server.url}", server.log) for server in serving.running]
    return report
