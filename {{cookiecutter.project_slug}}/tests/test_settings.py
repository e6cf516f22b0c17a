"""What the service reads from its environment, and what it refuses."""

import errno
import re
from pathlib import Path

import dotenv.main
import pytest
from pydantic import ValidationError

from {{ cookiecutter.package_name }}.settings import (
    Settings,
    SettingsError,
    load_settings,
)

from .serving import ROOT

pytestmark = pytest.mark.usefixtures("clean_environment")


def refused(**overrides: str) -> list[str]:
    """Return the sentences that say why the settings are wrong."""
    with pytest.raises(SettingsError) as error:
        load_settings(**overrides)
    return str(error.value).splitlines()


def test_a_fresh_checkout_needs_no_settings() -> None:
    settings = load_settings()

    assert settings.environment == "development"
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)


def test_the_environment_goes_before_the_env_file(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clean_environment / ".env").write_text("PORT=8001\nHOST=127.0.0.2\n", encoding="utf-8")
    monkeypatch.setenv("PORT", "8002")

    settings = load_settings()

    assert (settings.host, settings.port) == ("127.0.0.2", 8002)


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")

    assert load_settings().port == 8000


def test_a_log_level_may_be_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "warning")

    assert load_settings().log_level == "WARNING"


def test_logs_are_text_in_development() -> None:
    assert load_settings().log_format == "text"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().port = 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("HOST", host) for host in ("::", "::1", "fe80::1%eth0", "127.0.0.2", "a-b_c.d.")),
        ("FORWARDED_ALLOW_IPS", "*"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.0/8, ::1,192.168.0.1"),
        ("KEEP_ALIVE_SECONDS", "604800"),
    ],
)
def test_a_right_value_is_taken(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    assert str(getattr(load_settings(), name.lower())) == value


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
        ("FORWARDED_ALLOW_IPS", "10.0.0.1/8", "FORWARDED_ALLOW_IPS must be addresses and networks"),
        ("FORWARDED_ALLOW_IPS", "proxy", "FORWARDED_ALLOW_IPS must be addresses and networks, "),
        ("FORWARDED_ALLOW_IPS", "::1,,::2", "FORWARDED_ALLOW_IPS must be addresses and networks"),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence_that_does_not_hold_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)

    [said] = refused()

    assert said.startswith(sentence)
    assert said.endswith(").")
    assert not re.search(rf"\b{re.escape(value)}\b", said.removeprefix(sentence))


def test_every_wrong_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENVIRONMENT", "DEBUG", "PORT"):
        monkeypatch.setenv(name, "wrong")

    assert [said.split()[0] for said in refused()] == ["ENVIRONMENT", "DEBUG", "PORT"]


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
def test_a_misspelt_name_in_the_env_file_is_refused_with_a_hint(
    clean_environment: Path, name: str
) -> None:
    (clean_environment / ".env").write_text(f"{name}=s3cret\n", encoding="utf-8")

    meant = MISSPELT[name]
    assert refused() == [
        f"{name.upper()} in .env is not a setting of this service; did you mean {meant}?"
    ]


def test_every_setting_with_a_slip_of_the_keyboard_is_recognised(clean_environment: Path) -> None:
    for name in map(str.upper, Settings.model_fields):
        middle = len(name) // 2 - 1
        start, one, other, end = name[:middle], *name[middle : middle + 2], name[middle + 2 :]
        for slip in (start + other + one + end, start + one + end, f"{start}X{one}{other}{end}"):
            if slip.lower() in Settings.model_fields or len(slip) < 4:
                continue
            (clean_environment / ".env").write_text(f"{slip}=1\n", encoding="utf-8")
            assert [said.split()[0] for said in refused()] == [slip]


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


def test_an_env_file_that_cannot_be_read_is_refused(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clean_environment / ".env").write_text("PORT=8001\n", encoding="utf-8")

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(dotenv.main, "open", forbidden, raising=False)

    assert refused() == [".env cannot be read: Permission denied."]


def test_an_env_file_in_another_encoding_is_refused(clean_environment: Path) -> None:
    (clean_environment / ".env").write_bytes("HOST=caf\xe9".encode("latin-1"))

    assert refused() == [".env is not UTF-8 text."]


def test_overrides_are_checked_like_the_environment() -> None:
    assert load_settings(port="8003").port == 8003
    assert refused(port="-1") == [
        "PORT should be greater than or equal to 0 (the TCP port to listen on)."
    ]


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_the_example_file_shows_settings_with_their_defaults(clean_environment: Path) -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    shown = re.findall(r"^# ([A-Z_]+)=(.*)$", example, flags=re.MULTILINE)
    lines = [f"{name}={value}\n" for name, value in shown]
    (clean_environment / ".env").write_text("".join(lines), encoding="utf-8")

    assert {name.lower() for name, _ in shown} <= set(Settings.model_fields)
    from_example = load_settings()
    (clean_environment / ".env").unlink()
    assert from_example == load_settings()


def test_logs_are_json_in_production_unless_told_otherwise() -> None:
    # Without what production needs besides, which is the service's own.
    assert Settings.model_construct(environment="production").log_format == "json"
    told = Settings.model_construct(environment="production", log_format="text")
    assert told.log_format == "text"


def test_production_refuses_debug() -> None:
    said = refused(environment="production", debug="true")

    assert [each for each in said if each.startswith("DEBUG must be false when ENVIRONMENT is ")]
