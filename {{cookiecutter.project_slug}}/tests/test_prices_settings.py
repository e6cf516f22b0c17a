"""The settings of the example's upstream, as the environment and `.env` have them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.settings import (
    Settings,
    SettingsError,
    load_settings,
)
from {{ cookiecutter.package_name }}.variables import variables

from .test_settings import refused

pytestmark = pytest.mark.usefixtures("clean_environment")

Give = Callable[[str, str], None]

NESTED = [name.upper() for name in variables(Settings) if name.startswith("prices__")]


@pytest.fixture(params=["the environment", ".env"])
def give(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Give:
    """Return what sets a variable, in either place."""

    def write(name: str, value: str) -> None:
        with Path(".env").open("a", encoding="utf-8") as file:
            file.write(f"{name}={value}\n")

    return write if request.param == ".env" else monkeypatch.setenv


def test_parts_come_from_the_environment_before_the_env_file(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clean_environment / ".env").write_text(
        "PRICES__MAX_RETRIES=7\nPRICES__HEDGE=true\n", encoding="utf-8"
    )
    monkeypatch.setenv("PRICES__MAX_RETRIES", "8")
    monkeypatch.setenv("prices__base_url", "https://prices.example/v1")

    prices = load_settings().prices

    assert (prices.max_retries, prices.hedge) == (8, True)
    assert str(prices.base_url) == "https://prices.example/v1"


def test_an_override_leaves_the_other_parts_as_they_are(give: Give) -> None:
    give("PRICES__MAX_RETRIES", "7")

    prices = load_settings(prices={"hedge": True}).prices

    assert (prices.max_retries, prices.hedge) == (7, True)


@pytest.mark.parametrize("name", [*NESTED, "PRICES", "PRICES_BASE_URL", "PRICES__UNKNOWN"])
def test_an_empty_part_counts_as_not_set(give: Give, name: str) -> None:
    without = load_settings()
    give(name, "")

    assert load_settings() == without


@pytest.mark.parametrize("name", NESTED)
def test_the_name_with_one_underscore_is_refused(give: Give, name: str) -> None:
    former = name.replace("__", "_")
    give(former, "s3cret")

    assert refused() == [f"{former} is not a setting of this service; did you mean {name}?"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PRICES__TIMEOUT", "PRICES__TIMEOUT_SECONDS"),
        ("PRICES_TIMEOUT", "PRICES__TIMEOUT_SECONDS"),
        ("PRICE__BASE_URL", "PRICES__BASE_URL"),
        ("PRICES__BASEURL", "PRICES__BASE_URL"),
        ("PRICES___BASE_URL", "PRICES__BASE_URL"),
        ("prices__base_ulr", "PRICES__BASE_URL"),
        ("PIRCES__CACHE", "PRICES__CACHE"),
    ],
)
def test_a_slip_is_refused_wherever_it_is(give: Give, name: str, meant: str) -> None:
    give(name, "s3cret")

    assert refused() == [f"{name.upper()} is not a setting of this service; did you mean {meant}?"]


@pytest.mark.parametrize("name", ["PRICES__UNKNOWN", "PRICES__", "PRICES__MAX_RETRIES__X"])
def test_a_part_that_is_none_is_refused(give: Give, name: str) -> None:
    give(name, "s3cret")
    give("PRICES__MAX_RETRIES", "1")

    assert refused() == [f"{name} is not a setting of this service."]


@pytest.mark.parametrize(
    "name", ["PRICES_PORT", "PRICES_SERVICE_HOST", "PRICES_PORT_80_TCP", "PRICES_DB", "PRICES2"]
)
def test_names_of_other_programs_are_passed_over(give: Give, name: str) -> None:
    without = load_settings()
    give(name, "tcp://10.0.0.1:80")

    assert load_settings() == without


@pytest.mark.parametrize(
    "value", ['{"base_url": "https://s3cret.example"}', '{"s3cret', "null", "[]", "1", "s3cret"]
)
def test_the_whole_is_not_set_at_once(give: Give, value: str) -> None:
    give("PRICES", value)
    give("PRICES__MAX_RETRIES", "1")

    assert refused() == ["PRICES must be set by its parts, such as PRICES__BASE_URL."]


def test_a_wrong_part_is_named_and_described(give: Give) -> None:
    give("PRICES__TIMEOUT_SECONDS", "-5")

    [said] = refused()

    about = "how long one call may take with its retries, in seconds"
    assert said == f"PRICES__TIMEOUT_SECONDS should be greater than 0 ({about})."


def test_production_names_everything_that_it_refuses(give: Give) -> None:
    for name in ("ENVIRONMENT", "DEBUG", "PRICES__TIMEOUT_SECONDS", "PRICES__CACHE_REDIS_URL"):
        give(name, {"ENVIRONMENT": "production", "DEBUG": "true"}.get(name, "s3cret"))

    said = refused()

    # A service may refuse more than is here.
    assert {sentence.split()[0] for sentence in said} >= {
        *("DEBUG", "PRICES__BASE_URL", "PRICES__TIMEOUT_SECONDS", "PRICES__CACHE_REDIS_URL")
    }
    assert any(
        sentence.startswith("PRICES__BASE_URL must be set when ENVIRONMENT is production (the URL")
        for sentence in said
    )
    assert "s3cret" not in "".join(said)


def test_production_takes_an_upstream(give: Give) -> None:
    give("PRICES__BASE_URL", "https://prices.example/v1")
    give("ENVIRONMENT", "production")

    try:
        assert str(load_settings().prices.base_url) == "https://prices.example/v1"
    except SettingsError as error:  # of what a service requires besides
        assert "PRICES" not in str(error)  # noqa: PT017 - it need not be raised
