"""The settings of any upstream, and their effect."""

from dataclasses import fields
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from upstreams import Upstream, UpstreamSettings
from upstreams import _settings as module

URL = "https://orders.example/v1"


def attributes(upstream: Upstream) -> dict[str, Any]:
    """Return the arguments of an upstream by name."""
    return {field.name: getattr(upstream, field.name) for field in fields(upstream)}


def refused(**settings: object) -> str:
    """Return why the settings of an upstream are wrong; it never shows a secret."""
    with pytest.raises(ValidationError) as error:
        UpstreamSettings.model_validate(settings)
    assert "s3cret" not in str(error.value)
    return str(error.value.errors()[0]["msg"])


def test_unset_settings_have_the_defaults_of_the_library() -> None:
    plain = Upstream("orders", "http://orders.invalid")

    assert attributes(UpstreamSettings().upstream("orders")) == attributes(plain)


@pytest.mark.parametrize("name", sorted(UpstreamSettings.model_fields.keys() - {"cache_redis_url"}))
def test_every_setting_reaches_the_upstream(name: str) -> None:
    default = UpstreamSettings.model_fields[name].default
    value = URL if default is None else not default if default is False else default / 2
    before = attributes(UpstreamSettings().upstream("orders"))

    after = attributes(UpstreamSettings.model_validate({name: value}).upstream("orders"))

    changed = {each for each in after if after[each] != before[each]}
    assert changed == {name.removesuffix("_seconds") if name == "timeout_seconds" else name}
    assert name == "cache" or after[changed.pop()] == value


def test_the_settings_name_the_redis_of_the_cache() -> None:
    redis = "redis://:s3cret@cache.example/0"
    settings = UpstreamSettings.model_validate({"cache": True, "cache_redis_url": redis})

    cache: Any = settings.upstream("orders").cache

    assert cache.args == (redis,)
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in repr(settings.upstream("orders"))


@pytest.mark.parametrize(
    "host", ["localhost", "10.0.0.1", "[::1]:8000", "b\u00fccher.example", "a_b-c.d.", "127.1"]
)
def test_every_valid_host_is_accepted(host: str) -> None:
    settings = UpstreamSettings.model_validate({"base_url": f"http://{host}"})

    assert settings.upstream("orders").base_url == str(settings.base_url)


def test_a_stub_is_used_only_for_an_upstream_without_a_url() -> None:
    def stub() -> httpx.AsyncBaseTransport:
        raise NotImplementedError

    configured = UpstreamSettings.model_validate({"base_url": URL})

    assert UpstreamSettings().upstream("orders", stub=stub).transport is stub
    assert configured.upstream("orders", stub=stub).transport is None


def test_a_cache_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert UpstreamSettings.model_validate({"cache": "true"}).cache

    monkeypatch.setattr(module, "find_spec", lambda _: None)

    assert refused(cache="true").endswith("the extra `cache`")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        *(
            ("base_url", f"https://{user}@orders.example", "must have no user name and no password")
            for user in ("user:s3cret", "s3cret", ":s3cret")
        ),
        ("base_url", "https://orders.example/?key=s3cret#part", "must have no fragment"),
        ("base_url", "https://orders.example/#", "must have no fragment"),
        ("base_url", "//user:s3cret@host", "should be a valid URL"),
        ("base_url", "ftp://s3cret.example", "URL scheme should be 'http' or 'https'"),
        *(
            ("base_url", f"http://{host}", "must have an IP address or the name of a host in it")
            for host in ("s3cret*\u00a3", "-\u00f9-", "\U0001f60d", 64 * "a", "a..b", "$s3cret")
        ),
        ("cache_redis_url", "redis://:s3cret/@cache.example", "must be like redis://:password@"),
        ("timeout_seconds", "1e300", "should be less than or equal to 604800"),
        ("max_connections", "s3cret", "should be a valid integer"),
        ("max_retries", "-1", "should be greater than or equal to 0"),
        ("retry_share", "1.1", "should be less than or equal to 1"),
        ("breaker_seconds", "inf", "should be a finite number"),
        ("timeout", "s3cret", "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_value_is_refused(name: str, value: str, sentence: str) -> None:
    assert sentence in refused(**{name: value})
