"""The image and the compose file match the service."""

import re

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.settings import Settings, load_settings

from .serving import ROOT

pytestmark = pytest.mark.usefixtures("clean_environment")


def found(file: str, pattern: str) -> list[str]:
    """Return the match of the pattern's group in a file of the project; there must be one."""
    matches = re.findall(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert matches, f"no {pattern} in {file}"
    return matches


def compose_settings() -> dict[str, str]:
    """Return the environment of the service in compose.yaml, which is the first there."""
    text, _, _ = (ROOT / "compose.yaml").read_text(encoding="utf-8").partition("\n\n")
    return dict(re.findall(r'^ {6}([A-Z_]+): "(.*)"$', text, re.MULTILINE))


def test_the_image_listens_on_its_exposed_port() -> None:
    port, metrics_port = found("Dockerfile", r"PORT=(\d+)")

    assert [f"{port} {metrics_port}"] == found("Dockerfile", r"^EXPOSE ([\d ]+)$")
    assert [port] == found("compose.yaml", r'^ +- "127\.0\.0\.1:\$\{PORT.*:(\d+)"$')
    if (ROOT / "deploy" / "observability").exists():
        assert [metrics_port] == found("deploy/observability/prometheus.yml", r"- service:(\d+)$")


def test_the_image_runs_the_python_of_its_build() -> None:
    builder, final = found("Dockerfile", r"^FROM (\S+/python:\S+)")

    assert builder == final


def test_the_image_starts_the_command_of_the_project() -> None:
    (command,) = found("Dockerfile", r'^CMD \["(.+)"\]$')

    assert [command] == found("pyproject.toml", rf"^({re.escape(command)}) = ")


def test_the_health_check_requests_a_route(app: Flask) -> None:
    (path,) = found("Dockerfile", r"request\('GET', '(.+?)'\)")

    assert path in {rule.rule for rule in app.url_map.iter_rules()}


def test_compose_sets_known_settings_only() -> None:
    assert compose_settings()
    assert {name.lower() for name in compose_settings()} <= set(Settings.model_fields)


def test_compose_waits_for_the_end_of_a_stop() -> None:
    settings = load_settings(**{name.lower(): value for name, value in compose_settings().items()})
    (seconds,) = found("compose.yaml", r"stop_grace_period: (\d+)s")

    # The grace period counts twice: for requests, and then for their background tasks.
    stop = settings.shutdown_delay_seconds + 2 * settings.shutdown_grace_seconds
    assert stop < int(seconds)
    assert settings.request_timeout_seconds <= settings.shutdown_grace_seconds
