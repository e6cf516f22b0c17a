"""The settings of the example's upstream."""

import pytest

from {{ cookiecutter.package_name }} import settings
from {{ cookiecutter.package_name }}.settings import SettingsError, load_settings

pytestmark = pytest.mark.usefixtures("clean_environment")


def test_production_refuses_the_stub() -> None:
    with pytest.raises(SettingsError, match="PRICES_BASE_URL must be set when ENVIRONMENT is"):
        load_settings(environment="production")


def test_production_names_everything_that_it_refuses() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(environment="production", debug="true")

    names = [line.split()[0] for line in str(error.value).splitlines()]
    assert sorted(names) == ["DEBUG", "PRICES_BASE_URL"]


def test_production_starts_with_an_upstream() -> None:
    loaded = load_settings(environment="production", prices_base_url="https://prices.example/v1")

    assert str(loaded.prices_base_url) == "https://prices.example/v1"


def test_a_url_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(prices_base_url="//user:s3cret@host")

    assert str(error.value).startswith("PRICES_BASE_URL should be a valid URL")
    assert "s3cret" not in str(error.value)


def test_a_cache_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(prices_cache="true").prices_cache

    monkeypatch.setattr(settings, "find_spec", lambda _: None)
    with pytest.raises(SettingsError) as error:
        load_settings(prices_cache="true")

    assert str(error.value).startswith(
        "PRICES_CACHE needs the extra `cache`: uv sync --extra cache (whether "
    )


def test_the_password_of_a_redis_is_not_shown() -> None:
    loaded = load_settings(prices_cache_redis_url="redis://:s3cret@cache.example/0")

    assert "s3cret" not in repr(loaded)


def test_a_base_url_has_no_fragment() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(prices_base_url="https://user:s3cret@prices.example/v1#part")

    assert str(error.value).startswith("PRICES_BASE_URL must have no fragment")
    assert "s3cret" not in str(error.value)
