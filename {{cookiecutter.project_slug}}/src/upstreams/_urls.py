"""The URL of a call: joins base URL, path and query without losing a part."""

import re
from base64 import b64encode
from functools import lru_cache
from urllib import request as environment
from urllib.parse import unquote_to_bytes

import httpx

from ._options import Pairs

# Characters. A longer URL may hold a client's data, so its parsed form is not kept.
_LONGEST_KNOWN_URL = 512

# A path in which nothing has to be encoded: RFC 3986 section 3.3.
_PLAIN_PATH = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")


def parsed_base(upstream: str, base_url: str) -> httpx.URL:
    """Return the base URL of the upstream of that name.

    Raises `ValueError` if it is not absolute, not HTTP, or has a fragment, which would never be
    sent (RFC 9110 section 7.1). The message leaves out the URL, which may hold a secret.
    """
    try:
        base = httpx.URL(base_url)
    except httpx.InvalidURL:  # its message quotes the wrong part, which may be a secret
        base = None
    if base is None or base.scheme not in {"http", "https"} or not base.host or "#" in base_url:
        message = f"the base URL of {upstream} must be http:// or https://, without a fragment"
        raise ValueError(message)
    return base


def basic_authorization(base: httpx.URL) -> str | None:
    """Return the `Authorization` for the user and password in a URL (RFC 7617), None without."""
    user, _, password = base.userinfo.partition(b":")
    if not base.userinfo:
        return None
    pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    return f"Basic {b64encode(pair).decode('ascii')}"


def ignored_proxy(address: str) -> str | None:
    """Return the proxy variable that applies to `address` in other clients, if any."""
    url = httpx.URL(address)
    if url.scheme not in environment.getproxies() or environment.proxy_bypass(url.host):
        return None
    return f"{url.scheme.upper()}_PROXY"


def origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Return scheme, host and port of a URL: RFC 6454 section 4. httpx drops a default port."""
    return url.scheme, url.host, url.port


def call_url(address: str, query: bytes, path: str, params: Pairs | None) -> httpx.URL:
    """Return the URL of a call; a name in `params` replaces the same name in a query.

    Raises `ValueError` for a path that could change the host, or that has a fragment.
    """
    if path and (path[0] not in "/?" or "#" in path):
        message = "a path begins with '/' or '?' and has no '#', which is written as %23"
        raise ValueError(message)
    size = len(path) + sum(len(name) + len(value) for name, value in params or ())
    build = _known_url if size <= _LONGEST_KNOWN_URL else _new_url
    return build(address, query, path, params)


def _new_url(address: str, query: bytes, path: str, params: Pairs | None) -> httpx.URL:
    if not query and _PLAIN_PATH.fullmatch(path) and "/." not in path:
        return _attached(_parsed(address), path, str(httpx.QueryParams(params)) if params else None)
    url = httpx.URL(address + path)
    if query:
        url = url.copy_with(query=b"&".join(filter(None, [query, url.query])))
    return url.copy_merge_params(params) if params else url


def _attached(address: httpx.URL, path: str, query: str | None) -> httpx.URL:
    """Return the URL of a path and a query that need no encoding by httpx.

    Parsing by httpx takes ten times as long, a fourth of the processor time of a call.
    """
    url = httpx.URL(address)
    known = url._uri_reference  # noqa: SLF001 - there is no other way around the parser
    path = known.path.rstrip("/") + path
    url._uri_reference = known._replace(path=path, query=query)  # noqa: SLF001
    return url


_parsed = lru_cache(maxsize=128)(httpx.URL)
_known_url = lru_cache(maxsize=1024)(_new_url)


def with_query(url: httpx.URL, query: bytes) -> httpx.URL:
    """Return the URL with the parameters of `query` that it does not have already."""
    names = {pair.partition(b"=")[0] for pair in url.query.split(b"&")}
    missing = [pair for pair in query.split(b"&") if pair.partition(b"=")[0] not in names]
    if not missing:
        return url
    return url.copy_with(query=b"&".join(filter(None, [*missing, url.query])))
