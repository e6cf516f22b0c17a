"""The settings that the service reads from its environment, and the values that it refuses."""

import re
import sys
from pathlib import Path
from runpy import run_module

import pytest
from upstreams import SettingsError

from {{ cookiecutter.package_name }}.settings import Settings, load_settings

from .serving import ROOT

pytestmark = pytest.mark.usefixtures("clean_environment")


def refused(**overrides: object) -> list[str]:
    """Return the sentences about the mistakes in the settings."""
    with pytest.raises(SettingsError) as error:
        load_settings(**overrides)
    return str(error.value).splitlines()


def test_a_fresh_checkout_needs_no_settings() -> None:
    settings = load_settings()

    assert settings.environment == "development"
    assert (settings.host, settings.port, settings.log_format) == ("127.0.0.1", 8000, "text")


def test_a_log_level_may_be_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "warning")

    assert load_settings().log_level == "WARNING"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("HOST", host) for host in ("::", "::1", "fe80::1%eth0", "127.0.0.2", "a-b_c.d.")),
        ("FORWARDED_ALLOW_IPS", "*"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.0/8, ::1,192.168.0.1"),
        ("DEADLINE_ALLOW_IPS", "fd00::/8,*"),
        ("KEEP_ALIVE_SECONDS", "604800"),
    ],
)
def test_a_valid_value_is_accepted(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    assert str(getattr(load_settings(), name.lower())) == value


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ENVIRONMENT", "staging", "ENVIRONMENT should be 'development' or 'production' (the kind"),
        ("PORT", "http", "PORT should be a valid integer, unable to parse string as an integer ("),
        ("PORT", "65536", "PORT should be less than or equal to 65535 (the TCP port to listen on)"),
        ("WEB_CONCURRENCY", "0", "WEB_CONCURRENCY should be greater than or equal to 1 (the "),
        ("LOG_LEVEL", "LOUD", "LOG_LEVEL should be 'DEBUG', 'INFO', 'WARNING', 'ERROR' or "),
        ("SHUTDOWN_GRACE_SECONDS", "nan", "SHUTDOWN_GRACE_SECONDS should be a finite number ("),
        ("REQUEST_TIMEOUT_SECONDS", "1e300", "REQUEST_TIMEOUT_SECONDS should be less than or "),
        ("HOST", "s3cret host", "HOST must be an IP address or the name of a host (the address "),
        *(
            (f"{who}_ALLOW_IPS", value, f"{who}_ALLOW_IPS must be IP addresses, networks or '*', ")
            for who in ("FORWARDED", "DEADLINE")
            for value in ("10.0.0.1/8", "proxy", "::1,,::2")
        ),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence_without_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)

    [said] = refused()

    assert said.startswith(sentence)
    assert said.endswith(").")
    assert not re.search(rf"\b{re.escape(value)}\b", said.removeprefix(sentence))


def test_a_misspelt_name_in_the_env_file_is_refused_with_a_hint(clean_environment: Path) -> None:
    (clean_environment / ".env").write_text("PROT=s3cret\n", encoding="utf-8")

    assert refused() == ["PROT is not a setting of this service; did you mean PORT?"]


def test_overrides_are_checked_like_the_environment() -> None:
    assert load_settings(port="8003").port == 8003
    assert refused(port="-1")[0].startswith("PORT should be greater than or equal to 0 (the TCP ")


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.variables().values())


def test_the_example_file_shows_settings_with_their_defaults(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, Settings.__module__)
    run_module(Settings.__module__, run_name="__main__")
    written = capsys.readouterr().out
    shown = re.findall(r"^# [A-Z_]+=.*$", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE)

    assert set(shown) <= set(written.splitlines())  # a setting of yours need not be shown


def test_logs_are_json_in_production_by_default() -> None:
    # Without other settings that production needs, which belong to the service.
    assert Settings.model_construct(environment="production").log_format == "json"
    told = Settings.model_construct(environment="production", log_format="text")
    assert told.log_format == "text"


def test_production_refuses_debug() -> None:
    said = refused(environment="production", debug="true")

    assert [each for each in said if each.startswith("DEBUG must be false when ENVIRONMENT is ")]
