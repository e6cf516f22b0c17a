"""The accepted URLs of Redis: all that redis-py accepts, and no typing mistake."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.asyncio import ConnectionPool
from upstreams import _redis_url, is_redis_url


def redis_py_takes(url: str) -> bool:
    """Whether redis-py accepts a URL."""
    try:
        ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call] # its own
    except (TypeError, ValueError, AttributeError):
        return False
    return True


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
        "",
    ],
)
def test_a_wrong_url_is_refused(url: str) -> None:
    assert not is_redis_url(url)


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
def test_a_valid_url_is_accepted(url: str) -> None:
    assert is_redis_url(url)
    assert redis_py_takes(url)


@given(st.from_regex(r"(redis|rediss|unix|http)://[^\n]*", fullmatch=True))
@example("redis://:a@b?db=1&db=2")
def test_redis_py_takes_every_accepted_url(url: str) -> None:
    assert not is_redis_url(url) or redis_py_takes(url)


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_password_is_never_cut_short(password: str) -> None:
    url = f"redis://:{password}@cache.example/0"
    if not is_redis_url(url):
        return

    kept = ConnectionPool.from_url(url).connection_kwargs["password"]
    assert kept == password or "%" in password


@pytest.mark.parametrize("sign", [sign for sign in map(chr, range(32, 127)) if not sign.isalnum()])
def test_a_password_may_hold_every_sign_when_it_is_percent_encoded(sign: str) -> None:
    encoded = f"redis://:a%{ord(sign):02X}b@cache.example/0"

    assert is_redis_url(encoded)
    assert ConnectionPool.from_url(encoded).connection_kwargs["password"] == f"a{sign}b"


def test_without_redis_py_options_are_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_redis_url, "find_spec", lambda _: None)

    assert is_redis_url("redis://cache.example?unknown=1")
    assert not is_redis_url("redis://:s3/cret@cache.example")
