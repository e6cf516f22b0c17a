"""What the service reads from its environment, and what it refuses."""

import re
from pathlib import Path

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


def test_a_misspelt_name_in_the_env_file_is_refused_with_a_hint(clean_environment: Path) -> None:
    (clean_environment / ".env").write_text("PROT=8001\nCOLOUR=red\n", encoding="utf-8")

    assert refused() == [
        "PROT in .env is not a setting of this service; did you mean PORT?",
        "COLOUR in .env is not a setting of this service.",
    ]


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


def test_the_example_file_shows_every_setting_with_its_default(clean_environment: Path) -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    shown = re.findall(r"^# ([A-Z_]+)=(.*)$", example, flags=re.MULTILINE)
    lines = [f"{name}={value}\n" for name, value in shown]
    (clean_environment / ".env").write_text("".join(lines), encoding="utf-8")

    assert [name.lower() for name, _ in shown] == list(Settings.model_fields)
    from_example = load_settings()
    (clean_environment / ".env").unlink()
    assert from_example == load_settings()


@pytest.fixture
def production(
    clean_environment: Path,  # noqa: ARG001 - only its effect is needed
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("PRICES_BASE_URL", "https://prices.example")  # if the example is there


@pytest.mark.usefixtures("production")
def test_logs_are_json_in_production_unless_told_otherwise() -> None:
    assert load_settings().log_format == "json"
    assert load_settings(log_format="text").log_format == "text"


@pytest.mark.usefixtures("production")
def test_production_refuses_debug() -> None:
    [said] = refused(debug="true")

    assert said.startswith("DEBUG must be false when ENVIRONMENT is production (")
