"""The view is looked up by host if the application matches hosts, and no request is kept."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
from flask import Flask, request
from flask_asgi import FlaskToAsgi
from hypothesis import given
from hypothesis import strategies as st

from .test_hooks import ask

OPTIONS: dict[str, dict[str, Any]] = {
    "one host": {},
    "hosts": {"host_matching": True, "static_host": "static.example.com"},
    "subdomains": {"subdomain_matching": True},
}
every_matching = pytest.mark.parametrize("matching", OPTIONS)


# Werkzeug warns of a host that does not match, and answers 404.
pytestmark = pytest.mark.filterwarnings("ignore:Current server name:UserWarning")


def make_app(
    matching: str, *, trusted: bool = False
) -> tuple[FlaskToAsgi, list[weakref.ref[object]]]:
    """Return an application with an async view, and weak references to its requests."""
    app = Flask(__name__, **OPTIONS[matching])
    app.config["TRUSTED_HOSTS"] = ["example.com", ".example.com"] if trusted else None
    app.config["SERVER_NAME"] = "example.com" if matching == "subdomains" else None
    rule: dict[str, Any] = {
        "one host": {},
        "hosts": {"host": "<name>.example.com"},
        "subdomains": {"subdomain": "<name>"},
    }[matching]
    requests: list[weakref.ref[object]] = []

    @app.get("/", **rule)
    async def view(name: str = "") -> str:
        requests.append(weakref.ref(request.environ["wsgi.input"]))
        requests.append(weakref.ref(request._get_current_object()))  # type: ignore[attr-defined] # noqa: SLF001 - documented
        return name

    return FlaskToAsgi(app), requests


@every_matching
def test_no_request_outlives_its_response(matching: str) -> None:
    asgi, requests = make_app(matching)

    async def check() -> None:
        for name in ("one", "two", "one"):
            status, _ = await ask(asgi, "/", f"{name}.example.com")
            assert status == 200
        gc.collect()
        assert [each() for each in requests] == [None] * 6

    asyncio.run(check())


@every_matching
def test_a_cached_request_is_not_matched_again(
    matching: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asgi, _ = make_app(matching)
    look_ups: list[object] = []
    cache = asgi.engine.placement._names_of_async_view  # noqa: SLF001 - the cache that is tested
    look_up = cache._match  # noqa: SLF001 - the same

    def count(environ: dict[str, Any], key: Any) -> Any:
        look_ups.append(environ)
        return look_up(environ, key)

    monkeypatch.setattr(cache, "_match", count)

    async def check() -> None:
        for _ in range(5):
            assert (await ask(asgi, "/", "one.example.com"))[0] == 200
            assert len(look_ups) == 1

    asyncio.run(check())


@pytest.mark.parametrize("trusted", [False, True])
@every_matching
@pytest.mark.parametrize("host", ["", "not a host", "a:b", "[::1", "evil.org", "a" * 2000])
def test_any_host_is_answered_as_flask_answers_it(
    matching: str, host: str, *, trusted: bool
) -> None:
    check_host(matching, host, trusted=trusted)


@given(
    matching=st.sampled_from(sorted(OPTIONS)),
    trusted=st.booleans(),
    host=st.text(st.characters(max_codepoint=0xFF), max_size=30).map(str.strip),
)
def test_any_generated_host_is_answered_as_flask_answers_it(
    matching: str, host: str, *, trusted: bool
) -> None:
    check_host(matching, host, trusted=trusted)


def check_host(matching: str, host: str, *, trusted: bool) -> None:
    """Compare the status with Flask's own."""
    asgi, _ = make_app(matching, trusted=trusted)
    plain = Flask.test_client(make_app(matching, trusted=trusted)[0].app)
    expected = plain.get("/", headers={"Host": host}).status_code if _fits(host) else None

    async def check() -> None:
        status, _ = await ask(asgi, "/", host)
        assert status < 500
        assert expected in {None, status}

    asyncio.run(check())


def _fits(host: str) -> bool:
    """Tell whether Werkzeug's test client can send the host."""
    return bool(host) and host.isascii() and host.isprintable()
