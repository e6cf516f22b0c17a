"""URL matching that remembers, because a service is asked for the same few URLs again and again.

Flask binds its URL map to each request and matches it anew, which is a sixth of what a small
request costs. What is remembered here is what Werkzeug found; it is asked whenever the answer
could be another one.
"""

import functools
from collections.abc import Mapping
from typing import Any

from flask import Flask
from werkzeug.routing import Map, MapAdapter, Rule
from werkzeug.wsgi import get_path_info

# More than any service has. What is beyond is found each time, so that nobody can fill the memory.
MOST_HOSTS = 256
MOST_RULES = 1024

# All that an adapter depends on, apart from the path, the method and the query (PEP 3333).
_HOST = ("wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME")


def remember_urls(app: Flask) -> None:
    """Let `app` find a host or a URL without variable parts once, and know it from then on.

    Where the host is part of what is matched, or the map is one of the application's own, nothing
    changes.
    """
    urls = app.url_map
    if type(urls) is Map and not urls.host_matching and not app.subdomain_matching:
        vars(urls)["bind_to_environ"] = _Memory(urls).bind_to_environ  # Flask calls nothing else


class _Memory:
    """What was found in one URL map."""

    def __init__(self, urls: Map) -> None:
        self.urls = urls
        self.rules: dict[tuple[str, str], Rule] = {}
        self.host = functools.lru_cache(MOST_HOSTS)(self._bind_to_host)

    def bind_to_environ(
        self,
        environ: Any,  # noqa: ANN401 - an environ, or what has one, as Werkzeug allows
        server_name: str | None = None,
        subdomain: str | None = None,
    ) -> MapAdapter:
        environ = getattr(environ, "environ", environ)
        if "HTTP_UPGRADE" in environ:  # may be a WebSocket, for which other rules match
            return Map.bind_to_environ(self.urls, environ, server_name, subdomain)
        host = self.host(server_name, subdomain, *map(environ.get, _HOST))
        return _Adapter(host, environ, self.rules)

    def _bind_to_host(
        self, server_name: str | None, subdomain: str | None, *host: str | None
    ) -> MapAdapter:
        given = zip(_HOST, host, strict=True)
        environ = {name: value for name, value in given if value is not None}
        environ["REQUEST_METHOD"] = "GET"  # no request's, but Werkzeug wants one
        return Map.bind_to_environ(self.urls, environ, server_name, subdomain)


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
