"""The image and the compose file agree with the service that they are about."""

import re

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.settings import Settings, load_settings

from .serving import ROOT

pytestmark = pytest.mark.usefixtures("clean_environment")


def found(file: str, pattern: str) -> list[str]:
    """Return what the pattern's group matches in a file of the project; something must."""
    matches = re.findall(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert matches, f"no {pattern} in {file}"
    return matches


def compose_settings() -> dict[str, str]:
    """Return the environment that compose.yaml gives to the service."""
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    return dict(re.findall(r'^ {6}([A-Z_]+): "(.*)"$', text, re.MULTILINE))


def test_the_image_listens_where_it_says() -> None:
    (port,) = found("Dockerfile", r"PORT=(\d+)")

    assert [port] == found("Dockerfile", r"^EXPOSE (\d+)$")
    assert [port] == found("compose.yaml", r'^ +- "127\.0\.0\.1:.*:(\d+)"$')


def test_the_image_runs_the_python_that_it_was_made_with() -> None:
    builder, final = found("Dockerfile", r"^FROM (\S+/python:\S+)")

    assert builder == final


def test_the_image_starts_the_command_of_the_project() -> None:
    (command,) = found("Dockerfile", r'^CMD \["(.+)"\]$')

    assert [command] == found("pyproject.toml", rf"^({re.escape(command)}) = ")


def test_the_health_check_asks_for_a_route(app: Flask) -> None:
    (path,) = found("Dockerfile", r"request\('GET', '(.+?)'\)")

    assert path in {rule.rule for rule in app.url_map.iter_rules()}


def test_compose_sets_nothing_that_the_service_does_not_know() -> None:
    assert compose_settings()
    assert {name.lower() for name in compose_settings()} <= set(Settings.model_fields)


def test_compose_waits_as_long_as_a_stop_takes() -> None:
    settings = load_settings(**{name.lower(): value for name, value in compose_settings().items()})
    (seconds,) = found("compose.yaml", r"stop_grace_period: (\d+)s")

    # Requests get the grace, and then the background work that they left behind.
    stop = settings.shutdown_delay_seconds + 2 * settings.shutdown_grace_seconds
    assert stop < int(seconds)
    assert settings.request_timeout_seconds <= settings.shutdown_grace_seconds
