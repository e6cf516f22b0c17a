"""Cached URLs have the same responses as in Flask; the cache keeps only URLs and hosts."""

import gc
import itertools
import random
import threading
import weakref
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from flask import Flask, Request, g, request, url_for
from flask_asgi import FlaskToAsgi, on_loop
from flask_asgi import _url_cache as module
from werkzeug.routing import Map, MapAdapter
from werkzeug.test import TestResponse

from .asgi_client import ask, http_scope, until_freed

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


def test_responses_are_the_same_with_and_without_the_cache() -> None:
    plain, remembering = make_app(), make_app()
    module.cache_urls(remembering)

    expected = answers(plain)

    assert expected == answers(remembering)
    assert expected == answers(remembering)


def test_a_cached_url_is_not_matched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    module.cache_urls(app)
    assert app.test_client().get("/plain").status_code == 200

    monkeypatch.delattr(Map, "bind")
    monkeypatch.delattr(MapAdapter, "match")
    monkeypatch.delattr("flask.app.get_host", raising=False)  # checks the host

    assert app.test_client().get("/plain").status_code == 200


def test_a_cached_host_is_checked_against_changed_trusted_hosts() -> None:
    app = make_app()
    module.cache_urls(app)
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


def test_the_number_of_cached_urls_and_hosts_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_HOSTS", 2)
    monkeypatch.setattr(module, "MOST_URLS", 2)
    app = make_app()
    module.cache_urls(app)
    memory = app.create_url_adapter.__self__  # type: ignore[attr-defined] # set by the cache

    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        host = {"Host": f"{method}.example.com"}
        assert app.test_client().open("/plain", method=method, headers=host).status_code == 200
        assert 1 <= len(memory.hosts) <= 2

    memory.hosts.clear()
    assert app.test_client().get("/plain", headers={"Host": 600 * "a."}).status_code == 200

    assert not memory.hosts
    assert 1 <= len(memory.rules) <= 2


# Under the engine, which looks for the view before Flask does


@pytest.fixture
def matched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the path of every match."""
    paths: list[str] = []
    match = MapAdapter.match

    def noting(self: MapAdapter, path_info: str | None = None, *args: Any, **options: Any) -> Any:
        paths.append(f"/{(path_info or self.path_info).lstrip('/')}")
        return match(self, path_info, *args, **options)

    monkeypatch.setattr(MapAdapter, "match", noting)
    return paths


@pytest.fixture(params=[True, False], ids=["async", "sync"])
def with_items(request: pytest.FixtureRequest) -> Flask:
    """Return an application whose view has a variable part, and runs on the loop or in a thread."""
    app = Flask(__name__)

    def view(item: int) -> dict[str, int]:
        return {"item": item}

    async def async_view(item: int) -> dict[str, int]:
        return {"item": item}

    app.add_url_rule("/items/<int:item>", "item", async_view if request.param else view)
    return app


@pytest.mark.anyio
async def test_a_url_with_variable_parts_is_matched_once(
    with_items: Flask, matched: list[str]
) -> None:
    bridge = FlaskToAsgi(with_items)

    for number in (1, 2, 1):
        expected = f'{{"item":{number}}}\n'.encode()
        assert (200, expected) == await ask(bridge, http_scope(f"/items/{number}"))

    assert ["/items/1", "/items/2", "/items/1"] == matched


@pytest.fixture
def app() -> Flask:
    return make_app()


@pytest.mark.anyio
async def test_invented_paths_do_not_evict_urls_of_the_application(
    app: Flask, matched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_URLS", 1)
    bridge = FlaskToAsgi(app)
    await ask(bridge, http_scope("/plain"))
    matched.clear()

    for number in range(20):
        await ask(bridge, http_scope(f"/items/{number}"))
        await ask(bridge, http_scope(f"/absent/{number}"))
        await ask(bridge, http_scope("/plain"))

    assert matched
    assert "/plain" not in matched


PATHS_OF_ALL_KINDS = [
    *("/items/1", "/items/0", "/items/-1", "/items/01", "/items/x", "/items/", "/items//1"),
    *("/items/%31", "/page/1", "/page/2", "/page/", "/page", "/folder", "/plain", "/caf%C3%A9"),
]


@pytest.fixture
def expected_answers() -> dict[tuple[str, str], tuple[int, bytes]]:
    """Return Flask's own response to every path with every method."""
    client = make_app().test_client()
    responses = {
        each: client.open(each[1], method=each[0], base_url="http://127.0.0.1")
        for each in itertools.product(("GET", "HEAD", "POST", "OPTIONS"), PATHS_OF_ALL_KINDS)
    }
    return {each: (one.status_code, one.data) for each, one in responses.items()}


@pytest.mark.anyio
async def test_every_response_equals_flasks_own(
    app: Flask, expected_answers: dict[tuple[str, str], tuple[int, bytes]]
) -> None:
    bridge = FlaskToAsgi(app)
    asked = [*expected_answers] * 3  # unknown, and then known
    random.Random(2).shuffle(asked)  # noqa: S311 - reproducible, not secret

    for method, path in asked:
        scope = http_scope(
            unquote(path), (b"host", b"127.0.0.1"), method=method, raw_path=path.encode()
        )
        assert expected_answers[method, path] == await ask(bridge, scope), (method, path)


@pytest.fixture
def with_languages() -> Flask:
    """Return an application that removes a URL value before it calls its view."""
    app = Flask(__name__)

    @app.url_value_preprocessor
    @on_loop
    def take_language(_endpoint: str | None, values: dict[str, Any] | None) -> None:
        g.language = (values or {}).pop("language")

    @app.get("/<language>/hello")
    async def hello() -> str:
        return str(g.language)

    return app


@pytest.mark.anyio
async def test_removed_url_values_are_there_for_the_next_request(
    with_languages: Flask,
) -> None:
    bridge = FlaskToAsgi(with_languages)

    for language in ("de", "fr", "de", "de"):
        assert (200, language.encode()) == await ask(bridge, http_scope(f"/{language}/hello"))


class _Moving(Flask):
    @on_loop
    def wsgi_app(self, environ: dict[str, Any], start_response: Any) -> Any:
        environ["PATH_INFO"] = environ["PATH_INFO"].replace("/items/1", "/items/2")
        return super().wsgi_app(environ, start_response)


@pytest.fixture
def moving() -> Flask:
    """Return an application that answers a request for one path as if it were for another."""
    app = _Moving(__name__)

    @app.get("/items/<int:item>")
    async def view(item: int) -> str:
        return str(item)

    return app


@pytest.mark.anyio
async def test_a_path_that_the_application_changes_is_matched_again(moving: Flask) -> None:
    bridge = FlaskToAsgi(moving)

    assert (200, b"2") == await ask(bridge, http_scope("/items/1"))
    assert (200, b"3") == await ask(bridge, http_scope("/items/3"))


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
def test_other_url_adapters_are_not_cached(kind: type[Flask], options: dict[str, Any]) -> None:
    app = kind(__name__, **options)
    module.cache_urls(app)

    assert "create_url_adapter" not in vars(app)


# Where Flask matches hosts or subdomains


def by_host(host: str) -> dict[str, str]:
    return {"host": host}


def by_subdomain(host: str) -> dict[str, str]:
    return {"subdomain": host.removesuffix(".example.com")}


HOSTS = ("one.example.com", "two.example.com")
METHODS = ("GET", "POST", "PUT")
PATHS = ("/", "/items")


@pytest.fixture(params=[by_host, by_subdomain])
def hosted(request: pytest.FixtureRequest) -> Flask:
    """Return an application that says for each host, method and path where its view runs."""
    if request.param is by_host:
        app = Flask("hosted", host_matching=True, static_host="static.example.com")
    else:
        app = Flask("hosted", subdomain_matching=True)
        app.config["SERVER_NAME"] = "example.com"
    here = threading.get_ident()

    def where() -> str:
        return "loop" if threading.get_ident() == here else "thread"

    def add(host: str, method: str, path: str) -> None:
        async def on_loop() -> str:
            return where()

        def in_thread() -> str:
            return where()

        view = on_loop if expected_of(host, method, path) == "loop" else in_thread
        endpoint = f"{method} {host.partition('.')[0]} {path}"
        app.add_url_rule(path, endpoint, view, methods=[method], **request.param(host))

    for each in itertools.product(HOSTS, METHODS, PATHS):
        add(*each)
    return app


def expected_of(host: str, method: str, path: str) -> str:
    """Alternate: views that differ only in host, only in method or only in path run elsewhere."""
    place = HOSTS.index(host) + METHODS.index(method) + PATHS.index(path)
    return ("loop", "thread")[place % 2]


def asking(host: str, method: str, path: str) -> dict[str, Any]:
    return http_scope(path, (b"host", host.encode()), method=method)


@pytest.mark.anyio
async def test_views_are_distinguished_by_host_method_and_path(hosted: Flask) -> None:
    bridge = FlaskToAsgi(hosted)
    urls = [*itertools.product(HOSTS, METHODS, PATHS)] * 3  # unknown, and then known
    random.Random(1).shuffle(urls)  # noqa: S311 - reproducible, not secret

    for url in urls:
        assert (200, expected_of(*url).encode()) == await ask(bridge, asking(*url))


@pytest.mark.anyio
async def test_a_cached_host_needs_no_new_url_adapter(
    hosted: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    create_url_adapter = hosted.create_url_adapter

    def count(request: Request | None) -> MapAdapter | None:
        if request is not None:
            asked.append(request.host)
        return create_url_adapter(request)

    monkeypatch.setattr(hosted, "create_url_adapter", count)
    bridge = FlaskToAsgi(hosted)
    for _ in range(3):
        await ask(bridge, asking("one.example.com", "GET", "/"))

    # Flask itself asks once for each request, and the bridge once for all.
    assert ["one.example.com"] * 4 == asked


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.anyio
@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("POST", "/"), ("GET", "/absent"), ("DELETE", "/")]
)
async def test_no_request_is_kept_alive(hosted: Flask, method: str, path: str) -> None:
    kept: list[weakref.ref[object]] = []

    class Noted(Request):
        """A request that is recorded with its body, even if it only serves to find a URL."""

        def __init__(self, environ: dict[str, Any], *args: Any, **kwargs: Any) -> None:
            super().__init__(environ, *args, **kwargs)
            kept.extend([weakref.ref(self), weakref.ref(environ["wsgi.input"])])

    hosted.request_class = Noted
    bridge = FlaskToAsgi(hosted)
    headers = ((b"content-length", b"4"),)
    for host in [*HOSTS, "three.example.com"] * 10:
        scope = http_scope(path, (b"host", host.encode()), *headers, method=method)
        await ask(bridge, scope, b"body")

    assert len(kept) >= 2 * 30
    await until_freed(kept)
