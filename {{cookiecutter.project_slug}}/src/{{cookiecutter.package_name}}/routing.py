"""URL matching that remembers, because a service is asked for the same few URLs again and again.

Flask checks the host of each request, binds its URL map to it and matches the URL anew, which is a
sixth of what a small request costs. What is remembered here is what Flask and Werkzeug found;
they are asked whenever the answer could be another one.
"""

from collections.abc import Mapping
from typing import Any

from flask import Flask, Request
from werkzeug.routing import Map, MapAdapter, Rule
from werkzeug.wsgi import get_path_info

# More than any service has, so that nobody can fill the memory. Anyone can make up hosts: when
# there are too many, they are forgotten. What is beyond the other limits is found each time.
MOST_HOSTS = 256
MOST_RULES = 1024
LONGEST_HOST = 255  # octets of a name: RFC 1035 section 2.3.4

# All of a request that its host, and how the map is bound to it, depend on (PEP 3333).
_HOST = ("wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME")


def remember_urls(app: Flask) -> None:
    """Let `app` find a host or a URL without variable parts once, and know it from then on.

    Where the host is part of what is matched, or the application finds URLs in a way of its own,
    nothing changes.
    """
    urls = app.url_map
    is_plain = type(urls) is Map and type(app).create_url_adapter is Flask.create_url_adapter
    if is_plain and not urls.host_matching and not app.subdomain_matching:
        vars(app)["create_url_adapter"] = _Memory(app).create_url_adapter


class _Memory:
    """What was found for one application."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.find = app.create_url_adapter
        self.hosts: dict[tuple[object, ...], tuple[str, MapAdapter]] = {}
        self.rules: dict[tuple[str, str], Rule] = {}

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        if request is None or "HTTP_UPGRADE" in request.environ:  # a WebSocket has other rules
            return self.find(request)
        config, environ = self.app.config, request.environ
        if (trusted := config["TRUSTED_HOSTS"]) is not None:
            request.trusted_hosts = trusted
        trusted = request.trusted_hosts and tuple(request.trusted_hosts)
        key = (config["SERVER_NAME"], trusted, *map(environ.get, _HOST))
        if (known := self.hosts.get(key)) is None:
            adapter = self.find(request)
            assert adapter is not None  # noqa: S101 - there is a request
            known = request.host, adapter
            if len(request.environ.get("HTTP_HOST", "")) <= LONGEST_HOST:
                if len(self.hosts) >= MOST_HOSTS:
                    self.hosts.clear()
                self.hosts[key] = known
        request.host, adapter = known
        return _Adapter(adapter, environ, self.rules)


class _Adapter(MapAdapter):
    """The URL map bound to one request."""

    def __init__(
        self, host: MapAdapter, environ: dict[str, Any], rules: dict[tuple[str, str], Rule]
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
        rule, values = super().match(return_rule=True)
        if not rule.arguments and len(self._rules) < MOST_RULES:
            self._rules[url] = rule
        return rule, values
