"""URLs that are remembered are answered as Flask answers them."""

from typing import Any

import pytest
from flask import Flask, Request, request, url_for
from flask_asgi import _url_cache as routing
from werkzeug.routing import Map, MapAdapter
from werkzeug.test import TestResponse

REQUESTS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("GET", "/plain", {}),
    ("POST", "/plain", {}),
    ("HEAD", "/plain?a=1", {}),
    ("OPTIONS", "/plain", {}),
    ("DELETE", "/plain", {}),
    ("GET", "//plain", {}),
    ("GET", "/plain", {"Host": "one.example.com"}),
    ("GET", "/plain", {"Host": "two.example.com:8080"}),
    ("GET", "/plain", {"Host": "not a host"}),
    ("GET", "/plain", {"Connection": "upgrade", "Upgrade": "websocket"}),
    ("GET", "/items/1", {}),
    ("GET", "/items/2", {}),
    ("GET", "/items/none", {}),
    ("GET", "/folder?a=%C3%A4&b=%FF", {}),
    ("GET", "/folder/", {}),
    ("GET", "/page/1", {}),
    ("GET", "/page/", {}),
    ("GET", "/old?a=1", {}),
    ("GET", "/absent", {}),
    ("GET", "/caf%C3%A9", {}),
)


def make_app() -> Flask:
    app = Flask(__name__)

    @app.route("/plain", methods=["GET", "POST"])
    @app.get("/items/<int:item>", endpoint="item")
    @app.get("/folder/", endpoint="folder")
    @app.get("/page/", defaults={"number": 1}, endpoint="page")
    @app.get("/page/<int:number>", endpoint="page")
    @app.get("/old", redirect_to="/plain", endpoint="old")
    @app.get("/café", endpoint="coffee")
    def view(**values: int) -> dict[str, object]:
        return {
            "rule": str(request.url_rule),
            "values": values,
            "here": request.url,
            "there": url_for("item", item=3, _external=True),
        }

    return app


def answers(app: Flask) -> list[tuple[int, str, dict[str, str]]]:
    def answer(method: str, url: str, headers: dict[str, str]) -> TestResponse:
        return app.test_client().open(url, method=method, headers=headers)

    responses = [answer(*each) for each in REQUESTS]
    return [(one.status_code, one.text, dict(one.headers)) for one in responses]


def test_an_answer_is_the_same_whether_its_url_is_known_or_not() -> None:
    plain, remembering = make_app(), make_app()
    routing.cache_urls(remembering)

    expected = answers(plain)

    assert expected == answers(remembering)
    assert expected == answers(remembering)


def test_a_known_url_is_not_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    routing.cache_urls(app)
    assert app.test_client().get("/plain").status_code == 200

    monkeypatch.delattr(Map, "bind")
    monkeypatch.delattr(MapAdapter, "match")
    monkeypatch.delattr("flask.app.get_host", raising=False)  # checks the host

    assert app.test_client().get("/plain").status_code == 200


def test_what_was_trusted_once_is_not_trusted_for_ever() -> None:
    app = make_app()
    routing.cache_urls(app)
    client, here = app.test_client(), {"Host": "one.example.com"}

    assert client.get("/plain", headers=here).status_code == 200
    app.config["TRUSTED_HOSTS"] = ["two.example.com"]
    assert client.get("/plain", headers=here).status_code == 400
    app.config["TRUSTED_HOSTS"] = [".example.com"]
    assert client.get("/plain", headers=here).status_code == 200
    assert client.get("/plain", headers=here).json == {
        "here": "http://one.example.com/plain",
        "rule": "/plain",
        "there": "http://one.example.com/items/3",
        "values": {},
    }


def test_nobody_fills_the_memory_with_urls_and_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "MOST_HOSTS", 2)
    monkeypatch.setattr(routing, "MOST_URLS", 2)
    app = make_app()
    routing.cache_urls(app)
    memory = app.create_url_adapter.__self__  # type: ignore[attr-defined] # put there

    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        host = {"Host": f"{method}.example.com"}
        assert app.test_client().open("/plain", method=method, headers=host).status_code == 200
        assert 1 <= len(memory.hosts) <= 2

    memory.hosts.clear()
    assert app.test_client().get("/plain", headers={"Host": 600 * "a."}).status_code == 200

    assert not memory.hosts
    assert 1 <= len(memory.rules) <= 2


class _OwnFlask(Flask):
    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        return super().create_url_adapter(request)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Flask, {"subdomain_matching": True}),
        (Flask, {"host_matching": True, "static_host": "example.com"}),
        (_OwnFlask, {}),
    ],
)
def test_another_way_to_find_urls_is_left_alone(kind: type[Flask], options: dict[str, Any]) -> None:
    app = kind(__name__, **options)
    routing.cache_urls(app)

    assert "create_url_adapter" not in vars(app)
