"""The accepted and refused values of each type of setting."""

import sys

import pytest
from pydantic import TypeAdapter, ValidationError
from upstreams import Count, Delay, Host, RedisUrl, Seconds

TYPES = {"Count": Count, "Delay": Delay, "Host": Host, "Seconds": Seconds}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("Count", "1"), ("Count", str(2**31 - 1))],
        *[("Delay", "0"), ("Delay", "0.5"), ("Delay", "604800")],
        *[("Seconds", "1e-3"), ("Seconds", "604800")],
        *[("Host", host) for host in ("::", "::1", "fe80::1%eth0", "127.0.0.2", "a-b_c.d.")],
    ],
)
def test_a_right_value_is_taken(name: str, value: str) -> None:
    taken: object = TypeAdapter(TYPES[name]).validate_python(value)

    assert taken == (value if name == "Host" else float(value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("Count", value) for value in ("0", "-1", "1.5", "", "x", str(2**31), 5000 * "9")],
        *[("Delay", value) for value in ("-1", "-0.1", "604801", "1e300", "nan", "inf", "", "x")],
        *[("Seconds", value) for value in ("0", "-1", "604801", "1e300", "nan", "inf", "", "x")],
        *[("Host", value) for value in ("", "a b", "a..b", 64 * "a", "-a", "http://a", "\udce9")],
        *[("Host", value) for value in ("a\n", "a/b", "é.example", "127.0.0.1:80")],
    ],
)
def test_a_wrong_value_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(TYPES[name]).validate_python(value)


def test_a_redis_url_needs_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter: TypeAdapter[object] = TypeAdapter(RedisUrl)
    assert "**" in str(adapter.validate_python("redis://cache.example"))

    monkeypatch.setitem(sys.modules, "redis", None)

    with pytest.raises(ValidationError, match="needs the package redis, which is not installed"):
        adapter.validate_python("redis://cache.example")
