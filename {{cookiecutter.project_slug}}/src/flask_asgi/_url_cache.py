"""A cache of URL matching, because clients request the same few URLs again and again.

Flask checks the host of each request, binds its URL map to it and matches its URL, which takes a
sixth of the time of a small request. The cache keeps the results of Flask and Werkzeug. It calls
them again whenever the result could differ.

Only URLs without variable parts are kept. Their number is fixed, so no client can evict them by
requesting new paths. A URL with variable parts is matched once per request: the match that decides
where the request runs is left in the environ for Flask.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from flask import Flask, Request
from werkzeug.routing import Map, MapAdapter, Rule
from werkzeug.wsgi import get_path_info

from ._memo import Memo
from ._views import is_async_view

# Larger than the number in any application. Routes are kept by method and path.
MOST_HOSTS = 256
MOST_URLS = 8192
MOST_MADE_UP = 1024  # URLs of which clients can make any number
LONGEST = 1024  # characters of a host with its port, or of a method and a path

# The variables of the environ that determine a request's host, and how the URL map is bound to it
# (PEP 3333).
_HOST = ("wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME")


# The names by which the hooks of an endpoint are registered: those of its blueprints, and None.
Names = tuple[str | None, ...]

# The key of the environ for a `_Match` that Flask has not taken yet.
_MATCH = "flask_asgi.match"


class _Match(NamedTuple):
    """A rule with the values of its variable parts, and the input of the match."""

    url_map: Map
    method: str
    path: str
    rule: Rule
    values: Mapping[str, Any]


class AsyncViewCache:
    """Tells whether Flask will answer a request with an asynchronous view.

    Matching takes about 5 us. So for a URL without variable parts the answer is kept by method and
    path, and by host if the application matches hosts or subdomains. No other data of a request is
    kept.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._urls = app.url_map.bind("localhost")
        self._by_host = app.url_map.host_matching or app.subdomain_matching
        self._known: Memo[tuple[str | None, ...], Names] = Memo(most=MOST_URLS, longest=LONGEST)
        # URLs without a route and, by host, URLs with variable parts: kept apart from the others,
        # so that they evict none of them.
        self._made_up: Memo[tuple[str | None, ...], Names] = Memo(
            most=MOST_MADE_UP, longest=LONGEST
        )

    def __call__(self, environ: dict[str, Any]) -> Names | None:
        """Return the names of the hooks of that view; None if the view is not asynchronous."""
        key: tuple[str | None, ...] = (environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if self._by_host:
            key = (*key, *map(environ.get, _HOST))
        if (names := self._known.get(key)) is None and (names := self._made_up.get(key)) is None:
            names = self._match(environ, key)
        return names or None

    def _match(self, environ: dict[str, Any], key: tuple[str | None, ...]) -> Names:
        method, path = environ["REQUEST_METHOD"], get_path_info(environ)
        try:
            adapter = self._bind(environ)
            rule, values = adapter.match(path, method, return_rule=True, query_args="")
            is_async = is_async_view(self._app.view_functions[rule.endpoint], method)
        except Exception:  # noqa: BLE001 - no such host or URL, a redirect, or a converter that fails
            return self._made_up.keep(key, ())
        names = names_of(rule.endpoint) if is_async else ()
        if not rule.arguments:
            return self._known.keep(key, names)
        if self._by_host:  # then `cache_urls` does not use the match
            return self._made_up.keep(key, names)
        environ[_MATCH] = _Match(adapter.map, method, environ["PATH_INFO"], rule, values)
        return names

    def _bind(self, environ: dict[str, Any]) -> MapAdapter:
        if not self._by_host:
            return self._urls
        request = self._app.request_class(environ, populate_request=False)
        return self._app.create_url_adapter(request)  # type: ignore[return-value] # not None for a request


def names_of(endpoint: str) -> Names:
    """Return the names by which the hooks of ``endpoint`` are registered.

    >>> names_of("shop.cart.view")
    (None, 'shop.cart', 'shop')
    """
    names: list[str | None] = [None]
    blueprint = endpoint
    while blueprint := blueprint.rpartition(".")[0]:
        names.append(blueprint)
    return tuple(names)


def cache_urls(app: Flask) -> None:
    """Let `app` check a host, and match a URL without variable parts, only once each.

    If the application matches hosts or subdomains, or replaces the way in which Flask finds URLs,
    nothing changes.
    """
    urls = app.url_map
    is_plain = type(urls) is Map and type(app).create_url_adapter is Flask.create_url_adapter
    if is_plain and not urls.host_matching and not app.subdomain_matching:
        vars(app)["create_url_adapter"] = _UrlCache(app).create_url_adapter


class _UrlCache:
    """The checked hosts and the matched rules of one application."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.find = app.create_url_adapter
        self.hosts: Memo[tuple[object, ...], tuple[str, MapAdapter]] = Memo(
            most=MOST_HOSTS, longest=LONGEST
        )
        self.rules: Memo[tuple[str, str], Rule] = Memo(most=MOST_URLS, longest=LONGEST)

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        config = self.app.config
        if request is None:  # the application's context, once for each request
            return None if config["SERVER_NAME"] is None else self.find(None)
        environ = request.environ
        if "HTTP_UPGRADE" in environ:  # a WebSocket has other rules
            return self.find(request)
        if (trusted := config["TRUSTED_HOSTS"]) is not None:
            request.trusted_hosts = trusted
        trusted = request.trusted_hosts and tuple(request.trusted_hosts)
        key = (config["SERVER_NAME"], trusted, *map(environ.get, _HOST))
        if (known := self.hosts.get(key)) is None:
            adapter = self.find(request)
            assert adapter is not None  # noqa: S101 - there is a request
            known = self.hosts.keep(key, (request.host, adapter))
        request.host, adapter = known
        return _Adapter(adapter, environ, self.rules)


class _Adapter(MapAdapter):
    """The URL map bound to one request."""

    def __init__(
        self, host: MapAdapter, environ: dict[str, Any], rules: Memo[tuple[str, str], Rule]
    ) -> None:
        super().__init__(
            host.map,
            host.server_name,
            host.script_name,
            host.subdomain,
            host.url_scheme,
            get_path_info(environ),
            environ["REQUEST_METHOD"],
            environ.get("QUERY_STRING", "").encode("latin-1").decode(errors="replace"),
        )
        self._rules = rules
        # Popped: code that gets the values may change them, as `url_value_preprocessor` does.
        match: _Match | None = environ.pop(_MATCH, None)
        asked = (host.map, environ["REQUEST_METHOD"], environ.get("PATH_INFO"))
        self._match = match if match is not None and match[:3] == asked else None

    def match(
        self,
        path_info: str | None = None,
        method: str | None = None,
        return_rule: bool = False,  # noqa: FBT001, FBT002 - Werkzeug's
        query_args: Mapping[str, Any] | str | None = None,
        websocket: bool | None = None,  # noqa: FBT001 - Werkzeug's
    ) -> tuple[Any, Mapping[str, Any]]:
        """Return the rule, or its endpoint, and the values of its variable parts.

        Raises:
            HTTPException: no rule matches, or only one to which the client is redirected.
        """
        asked = (path_info, method, query_args, websocket)
        if not return_rule or asked != (None, None, None, None):
            return super().match(path_info, method, return_rule, query_args, websocket)  # type: ignore[call-overload, no-any-return]
        url = (self.default_method, self.path_info)
        if (known := self._rules.get(url)) is not None:
            return known, {}
        if (match := self._match) is not None:
            self._match = None
            return match.rule, match.values
        rule, values = super().match(return_rule=True)
        if not rule.arguments:
            self._rules.keep(url, rule)
        return rule, values
