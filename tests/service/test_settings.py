"""What the service reads from its environment and what it refuses, in every way to write it."""

import re
from pathlib import Path

import pytest

from price_service.settings import Settings, load_settings
from price_service.variables import variables

from ..test_settings import refused

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ENVIRONMENT", "staging", "ENVIRONMENT should be 'development' or 'production' (what "),
        ("PORT", "http", "PORT should be a valid integer, unable to parse string as an integer ("),
        ("PORT", "65536", "PORT should be less than or equal to 65535 (the TCP port to listen on)"),
        ("WEB_CONCURRENCY", "0", "WEB_CONCURRENCY should be greater than or equal to 1 (the "),
        ("LOG_LEVEL", "LOUD", "LOG_LEVEL should be 'DEBUG', 'INFO', 'WARNING', 'ERROR' or "),
        ("DEBUG", "perhaps", "DEBUG should be a valid boolean, unable to interpret input ("),
        ("SHUTDOWN_GRACE_SECONDS", "nan", "SHUTDOWN_GRACE_SECONDS should be a finite number ("),
        ("SHUTDOWN_GRACE_SECONDS", "0", "SHUTDOWN_GRACE_SECONDS should be greater than 0 ("),
        ("SHUTDOWN_DELAY_SECONDS", "-1", "SHUTDOWN_DELAY_SECONDS should be greater than or "),
        ("SHUTDOWN_DELAY_SECONDS", "1e300", "SHUTDOWN_DELAY_SECONDS should be less than or equal "),
        ("REQUEST_TIMEOUT_SECONDS", "1e300", "REQUEST_TIMEOUT_SECONDS should be less than or "),
        ("KEEP_ALIVE_SECONDS", 400 * "9", "KEEP_ALIVE_SECONDS should be less than or equal to "),
        ("KEEP_ALIVE_SECONDS", 5000 * "9", "KEEP_ALIVE_SECONDS "),
        ("HOST", "s3cret host", "HOST must be an IP address or the name of a host (the address "),
        ("HOST", "a..b", "HOST must be an IP address or the name of a host ("),
        ("HOST", 64 * "a", "HOST must be an IP address or the name of a host ("),
        ("HOST", "-a", "HOST must be an IP address or the name of a host ("),
        ("HOST", "http://a", "HOST must be an IP address or the name of a host ("),
        ("HOST", "\udce9", "HOST "),
        *(
            (f"{who}_ALLOW_IPS", value, f"{who}_ALLOW_IPS must be IP addresses, networks or '*', ")
            for who in ("FORWARDED", "DEADLINE")
            for value in ("10.0.0.1/8", "proxy", "::1,,::2", "10.0.0.1 10.0.0.2", ",", "10.0.0")
        ),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)

    [said] = refused()

    assert said.startswith(sentence)
    assert said.endswith(").")
    assert not re.search(rf"\b{re.escape(value)}\b", said.removeprefix(sentence))


# What a team's `.env` holds for Compose, databases, clouds and other services.
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
    "log_levle": "LOG_LEVEL",
    "ENVIROMENT": "ENVIRONMENT",
    "WEB_CONCURENCY": "WEB_CONCURRENCY",
    "MAX_CONTENT_LENGHT": "MAX_CONTENT_LENGTH",
    "REQUEST_TIMEOUT": "REQUEST_TIMEOUT_SECONDS",
    "KEEP_ALIVE": "KEEP_ALIVE_SECONDS",
    "FORWARDED_ALLOW_IP": "FORWARDED_ALLOW_IPS",
}


@pytest.mark.parametrize("name", MISSPELT)
def test_a_misspelt_name_is_refused_with_a_hint(clean_environment: Path, name: str) -> None:
    (clean_environment / ".env").write_text(f"{name}=s3cret\n", encoding="utf-8")

    meant = MISSPELT[name]
    assert refused() == [f"{name.upper()} is not a setting of this service; did you mean {meant}?"]


def test_every_setting_with_a_slip_of_the_keyboard_is_recognised(clean_environment: Path) -> None:
    for name in map(str.upper, variables(Settings)):
        middle = len(name) // 2 - 1
        start, one, other, end = name[:middle], *name[middle : middle + 2], name[middle + 2 :]
        for slip in (start + other + one + end, start + one + end, f"{start}X{one}{other}{end}"):
            if slip.lower() in variables(Settings) or len(slip) < 4:
                continue
            (clean_environment / ".env").write_text(f"{slip}=1\n", encoding="utf-8")
            [said] = refused()
            assert said == f"{slip} is not a setting of this service; did you mean {name}?"


def test_names_of_other_programs_in_the_env_file_are_passed_over(clean_environment: Path) -> None:
    without = load_settings()
    lines = "".join(f"{name}=x\n" for name in OTHERS if name.lower() not in Settings.model_fields)
    (clean_environment / ".env").write_text(lines, encoding="utf-8")

    assert load_settings() == without


@pytest.mark.parametrize(
    "text",
    [
        "PORT=8001",
        "\ufeffPORT=8001\n",
        "\n\n  \n# PORT=1\n\r\nPORT=8001\r\n",
        "export PORT=8001\n",
        "PORT='8001' # a comment\n",
        "  PORT = 8001  \n",
        "PORT=1\nPORT=8001\n",
        "port=8001\n",
        "PORT=8001\nHOST=\nDEBUG\n",
    ],
)
def test_an_env_file_may_be_written_in_many_ways(clean_environment: Path, text: str) -> None:
    (clean_environment / ".env").write_bytes(text.encode())

    assert load_settings().port == 8001


def test_a_folder_in_the_place_of_the_env_file_is_passed_over(clean_environment: Path) -> None:
    (clean_environment / ".env").mkdir()

    assert load_settings().port == 8000
