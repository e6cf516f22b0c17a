"""The hosts for which requests are accepted."""

import inspect

import pytest
from flask import Flask
from flask_guards import allowed_hosts, host_name

NAMES = ["api.example.com", ".example.org", "10.0.0.1", "[::1]"]


def status(names: list[str], host: str, path: str = "/") -> int:
    """Return the status of a request with this host to an application with these names."""
    app = Flask("hosted")
    app.before_request(allowed_hosts(names, except_for=("/livez",)))
    app.add_url_rule("/", "root", lambda: "")
    app.add_url_rule("/livez", "livez", lambda: "")
    app.add_url_rule("/livez/more", "more", lambda: "")
    client = app.test_client()
    first, second = (client.get(path, environ_overrides={"HTTP_HOST": host}) for _ in range(2))
    assert first.status_code == second.status_code  # the second result may be cached
    return first.status_code


@pytest.mark.parametrize(
    "host",
    [
        "api.example.com",
        "API.Example.com",
        "api.example.com:8000",
        "example.org",
        "a.example.org",
        "a.b.example.org:443",
        "10.0.0.1:80",
        "[::1]",
        "[::1]:8000",
    ],
)
def test_a_known_host_is_served_on_any_port(host: str) -> None:
    assert status(NAMES, host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "example.com",
        "a.api.example.com",
        "api.example.com.evil.example",
        "evil-example.org",
        "evil.example#.example.org",
        "api.example.com@evil.example",
        "evil.example/api.example.com",
        "10.0.0.11",
        "10.0.0.1.evil.example",
        "::1",
        "[::11]",
        "api.example.com:8000:1",
        "api.example.com\r\nX: y",
        "\u212api.example.com",
        "." * 1000,
    ],
    ids=lambda host: host[:30],
)
def test_any_other_host_is_refused(host: str) -> None:
    assert status(NAMES, host) == status(NAMES, host, "/livez/more") == 400


def test_health_checks_may_name_any_host() -> None:
    assert status(NAMES, "10.1.2.3:8000", "/livez") == 200


def test_the_cache_of_hosts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_guards._hosts.MOST_REMEMBERED", 2)
    app = Flask("hosted")
    check = allowed_hosts([".example.org"])
    app.before_request(check)
    app.add_url_rule("/", "root", lambda: "")

    for number in range(5):
        headers = {"Host": f"{number}.example.org"}
        assert app.test_client().get("/", headers=headers).status_code == 200

    known = inspect.getclosurevars(check).nonlocals["known"]
    assert known == {"0.example.org", "1.example.org"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "https://a.example",
        "a.example:80",
        "a.example/",
        "a b",
        "*",
        "*.a.example",
        "ä.example",
    ],
)
def test_an_invalid_host_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be names of hosts without a port, such as "):
        host_name(text)
    with pytest.raises(ValueError, match="must be names of hosts"):
        allowed_hosts([text])


def test_a_host_name_may_have_capitals_and_surrounding_spaces() -> None:
    assert host_name(" API.example.com ") == "api.example.com"
