"""A typing mistake in a setting's name is distinguished from a different name."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from upstreams._slips import meant_by

from .shop import Shop

SETTINGS = [*Shop.variables()]

# Variables of a team's `.env` for Compose, databases, clouds and other services.
OTHERS = re.findall(
    r"\S+",
    """
COMPOSE_PROJECT_NAME COMPOSE_FILE POSTGRES_PASSWORD POSTGRES_PORT DATABASE_URL REDIS_URL DB_HOST
DB_PORT PGHOST PGPORT APP_PORT API_HOST API_BASE_URL BASE_URL HTTP_PORT SMTP_HOST HOSTNAME HOST_PORT
DOCKER_HOST AWS_REGION UV_CACHE_DIR TZ SECRET_KEY SENTRY_DSN FLASK_DEBUG NODE_ENV APP_ENV LOG_DIR
LOG_FILE LOG_LEVEL_SQL
PORT2 PORT_A PORTS_OF_DB MAX_CONNECTIONS ENVIRONMENT_NAME PROMETHEUS_PORT
OTEL_SERVICE_NAME EXPORT REPORT COLOUR é
    """,
)

MISSPELT = {
    "PROT": "PORT",
    "HSOT": "HOST",
    "DEUBG": "DEBUG",
    "DEBGU": "DEBUG",
    "LOGLEVEL": "LOG_LEVEL",
    "LOG_LEVLE": "LOG_LEVEL",
    "ENVIROMENT": "ENVIRONMENT",
    "WEB_CONCURENCY": "WEB_CONCURRENCY",
    "MAX_CONTENT_LENGHT": "MAX_CONTENT_LENGTH",
    "REQUEST_TIMEOUT": "REQUEST_TIMEOUT_SECONDS",
    "STOP_DELAY": "STOP_DELAY_SECONDS",
}


@pytest.mark.parametrize(("name", "meant"), MISSPELT.items())
def test_a_misspelt_name_is_recognised(name: str, meant: str) -> None:
    assert meant_by(name.lower(), SETTINGS) == meant.lower()


@pytest.mark.parametrize("name", OTHERS)
def test_names_of_other_programs_are_not_recognised(name: str) -> None:
    assert meant_by(name.lower(), SETTINGS) is None


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_name_of_a_setting_is_recognised(setting: str) -> None:
    assert meant_by(setting, [setting]) == setting


LETTERS = st.sampled_from("abcdefghijklmnopqrstuvwxyz")


@given(st.data())
def test_every_setting_with_a_typing_mistake_is_recognised(data: st.DataObject) -> None:
    setting = data.draw(st.sampled_from(SETTINGS))
    place = data.draw(st.integers(0, len(setting) - 2))
    start, one, other, end = setting[:place], *setting[place : place + 2], setting[place + 2 :]
    assume(one != "_" != other)
    letter = data.draw(LETTERS)
    slips = [start + other + one + end, start + other + end, start + letter + other + end]
    slip = data.draw(st.sampled_from([*slips, start + letter + one + other + end]))

    assert meant_by(slip, [setting]) == setting


@given(st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1))
def test_a_recognised_setting_is_not_much_shorter_than_the_name(name: str) -> None:
    meant = meant_by(name, SETTINGS)

    assert meant is None or meant in SETTINGS
    assert meant is None or len(name.replace("_", "")) <= len(meant) + 1
