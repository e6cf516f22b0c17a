"""The settings of the example's upstream, read from the environment and `.env`."""

from pathlib import Path

import pytest
from upstreams import SettingsError

from {{ cookiecutter.package_name }}.settings import load_settings

from .test_settings import refused

pytestmark = pytest.mark.usefixtures("clean_environment")


def test_settings_come_from_the_environment_and_the_env_file(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clean_environment / ".env").write_text(
        "PRICES__DEADLINE_SECONDS=7\nPRICES__MAX_CONCURRENCY=3\n", encoding="utf-8"
    )
    monkeypatch.setenv("PRICES__DEADLINE_SECONDS", "8")

    prices = load_settings().prices

    assert (prices.deadline_seconds, prices.max_concurrency) == (8, 3)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PRICES_BASE_URL", "s3cret", "PRICES_BASE_URL is not a setting of this service; did you "),
        ("PRICES__UNKNOWN", "s3cret", "PRICES__UNKNOWN is not a setting of this service."),
        ("PRICES", "s3cret", "PRICES must be set by its parts, such as PRICES__BASE_URL."),
        ("PRICES__TIMEOUT_SECONDS", "-5", "PRICES__TIMEOUT_SECONDS should be greater than 0 (how "),
        ("PRICES__DEADLINE_SECONDS", "0", "PRICES__DEADLINE_SECONDS should be greater than 0 ("),
        ("PRICES__MAX_CONCURRENCY", "0", "PRICES__MAX_CONCURRENCY should be greater than or "),
        ("STUB_DELAY_MS", "-1", "STUB_DELAY_MS should be greater than or equal to 0 (how long "),
    ],
)
def test_a_wrong_setting_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)

    [said] = refused()

    assert said.startswith(sentence)
    assert "s3cret" not in said


def test_production_needs_the_upstreams_url() -> None:
    said = refused(environment="production")

    assert any(
        sentence.startswith("PRICES__BASE_URL must be set when ENVIRONMENT is production (the URL")
        for sentence in said
    )


def test_production_accepts_the_upstreams_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRICES__BASE_URL", "https://prices.example/v1")

    try:
        prices = load_settings(environment="production").prices
    except SettingsError as error:  # about other required settings
        assert "PRICES" not in str(error)  # noqa: PT017 - it need not be raised
    else:
        assert str(prices.base_url) == "https://prices.example/v1"
