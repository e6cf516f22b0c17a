"""The settings of the example's upstream."""

import re

import pytest
from redis.asyncio import ConnectionPool

from {{ cookiecutter.package_name }} import settings
from {{ cookiecutter.package_name }}.settings import SettingsError, load_settings

pytestmark = pytest.mark.usefixtures("clean_environment")


def refused(**overrides: str) -> set[str]:
    """Return the names of the variables that are wrong; a service may have more than are here."""
    try:
        load_settings(**overrides)
    except SettingsError as error:
        return {sentence.split()[0] for sentence in str(error).splitlines()}
    return set()


def test_production_refuses_the_stub() -> None:
    with pytest.raises(SettingsError, match="PRICES_BASE_URL must be set when ENVIRONMENT is"):
        load_settings(environment="production")


def test_production_names_everything_that_it_refuses() -> None:
    assert refused(environment="production", debug="true") >= {"DEBUG", "PRICES_BASE_URL"}


def test_production_takes_an_upstream() -> None:
    upstream = "https://prices.example/v1"

    assert "PRICES_BASE_URL" not in refused(environment="production", prices_base_url=upstream)
    assert str(load_settings(prices_base_url=upstream).prices_base_url) == upstream


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


@pytest.mark.parametrize("userinfo", ["user:s3cret@", "user@", ":s3cret@"])
def test_the_url_of_the_upstream_has_no_credentials(userinfo: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(prices_base_url=f"https://{userinfo}prices.example")

    assert str(error.value).startswith("PRICES_BASE_URL must have no user name and no password in ")
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        *(f"redis://:s3{sign}cret@cache.example:6379/0" for sign in "/?#[]\t\n\0\u2028"),
        *(f"redis://user:1{sign}s3cret@cache.example/0" for sign in "/?#"),
        "redis://:s3cret@cache.example:99999/0",
        "redis://:s3cret@cache.example:0/0",
        "redis://:s3cret@cache.example:port/0",
        "redis://:s3cret@cache.example/zero",
        "redis://:s3cret@cache.example/0/1",
        "redis://:s3cret@cache.example/-1",
        "redis://:s3cret@/0",
        "redis://:s3cret@cache example/0",
        "redis://:s3cret@[::1/0",
        "redis://:s3cret@cache.example?db=zero",
        "redis://:s3cret@cache.example?socket_timeout=long",
        "redis://:s3cret@cache.example?s3cret=1",
        "http://:s3cret@cache.example/0",
        "unix://s3cret",
        "cache.example:6379",
        "s3cret",
    ],
)
def test_the_url_of_a_redis_is_checked_at_start_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(prices_cache_redis_url=url)

    said = str(error.value)
    assert re.fullmatch(r"PRICES_CACHE_REDIS_URL must be like redis://:password@.*\.", said)
    assert "s3" not in said


@pytest.mark.parametrize(
    "url",
    [
        "redis://cache.example",
        "redis://cache.example:6379/15",
        "redis://user:p%2F%3F%23%40s@cache.example/0",
        *(f"redis://:p{sign}s@cache.example/0" for sign in "@:!$&'()*+,;=~%\\^`{}|<>\" é"),
        "redis://[::1]:6379/0",
        "rediss://:s3cret@cache.example:6380/0?ssl_cert_reqs=none",
        "redis://cache.example?db=3&health_check_interval=30",
        "unix:///run/redis.sock",
        "unix://:s3cret@/run/redis.sock?db=1",
    ],
)
def test_every_url_that_redis_py_takes_is_taken(url: str) -> None:
    assert load_settings(prices_cache_redis_url=url).prices_cache_redis_url
    assert ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call] # its own


def test_without_the_extra_the_url_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "find_spec", lambda _: None)

    assert load_settings(prices_cache_redis_url="redis://cache.example?db=3")
    with pytest.raises(SettingsError):
        load_settings(prices_cache_redis_url="redis://:s3/cret@cache.example")


def test_the_password_of_a_redis_is_not_shown() -> None:
    loaded = load_settings(prices_cache_redis_url="redis://:s3cret@cache.example/0")

    assert "s3cret" not in repr(loaded)


def test_a_base_url_has_no_fragment() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(prices_base_url="https://prices.example/v1?key=s3cret#part")

    assert str(error.value).startswith("PRICES_BASE_URL must have no fragment")
    assert "s3cret" not in str(error.value)
