"""A bake's own tests pass on a developer's machine, and after a team adds its own tests."""

import os
from pathlib import Path

import pytest

from .baking import OLDEST, bake
from .uv import on_python, run

# Tests of each kind: of settings, in the tests' process, over a socket, of a separate process.
FAST = (
    "tests/test_settings.py",
    "tests/test_health.py",
    "tests/test_logs.py",
    "tests/test_live_client.py",
    "tests/test_serve.py::test_a_taken_port_stops_the_start_with_a_message",
    "tests/test_serve.py::test_wrong_settings_stop_the_command_with_a_sentence_each",
    "tests/test_serve.py::test_wrong_settings_stop_uvicorn_with_a_sentence_each",
)

NOWHERE = "http://127.0.0.1:9"
ENVIRONMENTS: dict[str, dict[str, str]] = {
    "settings of other tools": {
        "LOG_LEVEL": "verbose",
        "DEBUG": "express:*",
        "ENVIRONMENT": "staging",
        "HOST": "my machine",
        "PORT": "http",
        "WEB_CONCURRENCY": "0",
        "prices__base_url": "none",
        "PRICES_BASE_URL": "none",
        "PRICES__TIMEOUT": "0",
        "PRICES": "[]",
    },
    "good settings": {
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": "json",
        "PORT": "1",
        "MAX_IN_FLIGHT": "1",
    },
    "proxies": {
        name: NOWHERE
        for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        for name in (proxy, proxy.lower())
    },
    "certificates": dict.fromkeys(
        ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), "/missing"
    ),
    "Python's development mode": {
        "PYTHONDEVMODE": "1",
        "PYTHONASYNCIODEBUG": "1",
        "PYTHONWARNINGS": "error",
        "PYTHONUNBUFFERED": "1",
    },
    "locale and terminal": {
        "LANG": "C",
        "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
        "TZ": "Asia/Kathmandu",
        "FORCE_COLOR": "1",
        "COLUMNS": "20",
        "TERM": "dumb",
    },
    "no colours": {"NO_COLOR": "1", "TZ": ":invalid"},
    "a supervisor and Flask": {
        "LISTEN_FDS": "1",
        "LISTEN_PID": "1",
        "NOTIFY_SOCKET": "/missing",
        "WATCHDOG_USEC": "1",
        "FLASK_DEBUG": "1",
        "FLASK_ENV": "production",
        "UVICORN_PORT": "1",
    },
}

ENV_FILES = {
    "for compose": b"COMPOSE_PROJECT_NAME=prices\nPOSTGRES_PASSWORD=postgres\n",
    "misspelt and wrong": b"PROT=1\nPORT=http\nLOG_LEVEL=debug\nENVIRONMENT=production\n",
    "not UTF-8": b"HOST=caf\xe9\n",
}

# A team's additions: a setting that production requires, and a package.
SETTING = """\
    database_url: str | None = Field(
        default=None, validate_default=True, description="the database; production needs it"
    )

    @field_validator("database_url")
    @classmethod
    def _no_production_without_a_database(
        cls, value: str | None, info: ValidationInfo
    ) -> str | None:
        if value is None and info.data.get("environment") == "production":
            message = "must be set when ENVIRONMENT is production"
            raise ValueError(message)
        return value

"""


# As in its documentation.
ASYNC_TEST = """\
import asyncio

import pytest


@pytest.mark.asyncio
async def test_ours() -> None:
    await asyncio.sleep(0)
"""


def install(project: Path) -> None:
    """Creates a project's environment from its lock file."""
    run("uv", "sync", "--locked", cwd=project, env=on_python(OLDEST))


def run_tests(project: Path, *tests: str, env: dict[str, str] | None = None) -> None:
    """Runs some of a project's tests with these variables."""
    python = project / ".venv" / ("bin" if os.name == "posix" else "Scripts") / "python"
    run(python, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", *tests, cwd=project, env=env)


def replace(path: Path, old: str, new: str) -> None:
    """Replaces a text that occurs once in a file."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.heavy
def test_the_tests_ignore_a_hostile_environment_and_a_teams_additions(tmp_path: Path) -> None:
    """One run covers both, as a run is slow; the heavy tests check them separately."""
    project = bake(tmp_path, deployment="all")
    package = project / "src/price_service"
    marker = '    @field_validator("debug")\n'
    replace(package / "settings.py", marker, SETTING + marker)
    imported = "from sqlalchemy.ext.asyncio import create_async_engine\n"
    replace(package / "app.py", "\nfrom flask import ", f"\n{imported}from flask import ")
    replace(package / "app.py", "    app = Flask(", "    create_async_engine\n    app = Flask(")
    (project / "tests" / "test_ours.py").write_text(ASYNC_TEST, encoding="utf-8")
    env = on_python(OLDEST)
    run("uv", "add", "--no-sync", "sqlalchemy[asyncio]", cwd=project, env=env)
    run("uv", "add", "--no-sync", "--dev", "pytest-asyncio", cwd=project, env=env)
    install(project)
    (project / ".env").write_bytes(b"".join(ENV_FILES.values()))
    together = {name: value for each in ENVIRONMENTS.values() for name, value in each.items()}
    about_the_project = (
        "tests/test_ours.py",
        "tests/test_container.py",
        "tests/test_home.py",
        "tests/test_kubernetes.py",
        "tests/test_prices_settings.py",
    )

    run_tests(project, *FAST, *about_the_project, env=together)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A default bake with its environment."""
    project = bake(tmp_path_factory.mktemp("developer"))
    install(project)
    return project


@pytest.mark.heavy
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_tests_ignore_the_developers_environment(name: str, installed: Path) -> None:
    run_tests(installed, *FAST, env=ENVIRONMENTS[name])


@pytest.mark.heavy
@pytest.mark.parametrize("name", ENV_FILES)
def test_the_tests_ignore_the_developers_env_file(name: str, installed: Path) -> None:
    (installed / ".env").write_bytes(ENV_FILES[name])
    try:
        run_tests(installed, *FAST)
    finally:
        (installed / ".env").unlink()
