"""An ASGI request as WSGI sees it, the environ.

WSGI is PEP 3333; its strings are bytes decoded as latin-1.
"""

import functools
import io
import sys
from typing import Any
from urllib.parse import unquote_to_bytes

from asgiref.typing import HTTPScope


def declares_body(scope: HTTPScope) -> bool:
    """Tell whether the request may have a body.

    In HTTP/1 a body is announced by one of two headers (RFC 9112 section 6.3); later versions
    frame it themselves, so there it has to be looked for.
    """
    if not scope["http_version"].startswith("1"):
        return True
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            return True
    return False


def announced_length(scope: HTTPScope) -> int | None:
    """Return how many bytes the request's body has; None where that is not known beforehand."""
    length = None
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":  # overrides any length: RFC 9112 section 6.3
            return None
        if name == b"content-length":
            length = int(value)
    return length


def awaits_continue(scope: HTTPScope) -> bool:
    """Tell whether the client holds its body back until asked for it: RFC 9110 section 10.1.1."""
    return any(name == b"expect" for name, _ in scope["headers"])


def build_environ(scope: HTTPScope, body: io.IOBase, duplicate_limit: int | None) -> dict[str, Any]:
    """Return the WSGI environ of an ASGI request: PEP 3333, "environ Variables".

    asgiref's `build_environ` does the same, but loses what `_headers`, `_path` and the query
    string keep, and is given no chance to.

    Raises:
        ValueError: a header is repeated more often than `duplicate_limit`.
    """
    root = scope.get("root_path", "").rstrip("/")
    server = scope.get("server") or ("localhost", 80)
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root.encode().decode("latin-1"),
        "PATH_INFO": _path(scope, root),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or 0),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if client := scope.get("client"):
        environ["REMOTE_ADDR"] = client[0]
        environ["REMOTE_PORT"] = str(client[1])
    for name, values in _headers(scope).items():
        if duplicate_limit and len(values) > duplicate_limit and name != "HTTP_COOKIE":
            message = f"{name} is repeated more than {duplicate_limit} times"
            raise ValueError(message)
        # Several Cookie headers are one, joined otherwise than all others: RFC 9113 section 8.2.3.
        environ[name] = ("; " if name == "HTTP_COOKIE" else ",").join(values)
    if "CONTENT_LENGTH" not in environ:
        # `RequestBody` ends where the body does, so it is safe to read without a length.
        environ["wsgi.input_terminated"] = True
    return environ


def _headers(scope: HTTPScope) -> dict[str, list[str]]:
    """Return the values of every header by the name of its variable.

    ``X_Forwarded_For`` would have the same variable as ``X-Forwarded-For``, which proxies
    overwrite and applications trust. Such names are left out, as nginx and gunicorn do.
    """
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        if b"_" not in name:
            variable = _variable(name)
            if variable in headers:
                headers[variable].append(value.decode("latin-1"))
            else:
                headers[variable] = [value.decode("latin-1")]
    return headers


@functools.lru_cache(maxsize=256)  # clients send the same few names again and again
def _variable(header: bytes) -> str:
    variable = header.decode("latin-1").upper().replace("-", "_")
    return variable if variable in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{variable}"


def _path(scope: HTTPScope, root: str) -> str:
    path = scope["path"]
    raw_path = scope.get("raw_path")
    # A server decodes the path as UTF-8. Where that lost a byte, the raw path still has it.
    lossy = raw_path and "\ufffd" in path
    as_bytes = unquote_to_bytes(raw_path) if raw_path and lossy else path.encode()
    path = as_bytes.decode("latin-1")
    # A client may send a whole URL (RFC 9112 section 3.2.2). Not every server takes it apart.
    if not path.startswith("/") and "://" in path:
        path = "/" + path.partition("://")[2].partition("/")[2]
    # ASGI's path includes root_path, but not every server has put it there.
    script_name = root.encode().decode("latin-1")
    if script_name and (path == script_name or path.startswith(script_name + "/")):
        path = path.removeprefix(script_name)
    return path
