"""Builds the WSGI environ of an ASGI request.

WSGI is PEP 3333. Its strings are bytes decoded as latin-1.
"""

import io
import sys
from collections import Counter
from typing import Any, Protocol
from urllib.parse import quote, unquote_to_bytes

from asgiref.typing import HTTPScope

from ._memo import Memo

# Keys of the environ through which the parts of the engine pass data to each other.
CANCELLED = "flask_asgi.cancelled"  # the answer, an `HTTPException`; None if the client has gone
LATE_RESPONSE = "flask_asgi.late_response"  # Flask's response made of that answer
ENDING = "flask_asgi.ending"  # the `Ending` of the request
LEFTOVERS = "flask_asgi.leftovers"  # the errors and requests whose reference cycles to break
RULE = "flask_asgi.rule"  # the `Rule` that the URL matches, or None, once Flask has looked
STARTED = "flask_asgi.started"  # `time.perf_counter()` when the request arrived
THREADS = "flask_asgi.threads"  # the `ThreadPool` of the server that has the request


class End(Protocol):
    """Reports the end of a request, with the number of bytes of its response's body."""

    def __call__(self, bytes_sent: int | None = None, *, is_complete: bool = True) -> None: ...


class Ending:
    """Holds the application's callback for the moment when its response is sent.

    It is an object, so that it still works if middleware copies the environ.
    """

    __slots__ = ("end", "is_over")

    def __init__(self) -> None:
        self.end: End | None = None
        self.is_over = False  # `end` will not be called any more


def declares_body(scope: HTTPScope) -> bool:
    """Tell whether the request may have a body.

    In HTTP/1 one of two headers announces a body (RFC 9112 section 6.3). Later versions need no
    header for that (RFC 9113 section 8.1), so there a body is always possible.
    """
    if not scope["http_version"].startswith("1"):
        return True
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            return True
    return False


def announced_length(scope: HTTPScope) -> int | None:
    """Return the length of the request's body in bytes; None if it is not announced."""
    length = None
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":  # overrides Content-Length: RFC 9112 section 6.3
            return None
        if name == b"content-length":
            length = int(value)
    return length


def awaits_continue(scope: HTTPScope) -> bool:
    """Tell whether the client waits for 100 Continue before it sends its body.

    The header is `Expect`: RFC 9110 section 10.1.1.
    """
    return any(name == b"expect" for name, _ in scope["headers"])


def repeats_a_header(scope: HTTPScope, limit: int | None) -> bool:
    """Tell whether a header other than `Cookie` occurs more than `limit` times; None: no limit."""
    headers: Any = scope["headers"]
    if limit is None or len(headers) <= limit:
        return False
    counts = Counter(_variable(name) for name, _ in headers if b"_" not in name)
    return any(number > limit for name, number in counts.items() if name != "HTTP_COOKIE")


def build_environ(scope: HTTPScope, body: io.IOBase) -> dict[str, Any]:
    """Return the WSGI environ of an ASGI request: PEP 3333, "environ Variables".

    ``REQUEST_URI`` and ``RAW_URI`` are the request's target as the client sent it. Other WSGI
    servers set one of these names, or both.

    Args:
        scope: ASGI's ``http`` scope.
        body: the request's body, for ``wsgi.input``.
    """
    root = scope.get("root_path", "").rstrip("/")
    server = scope.get("server") or ("localhost", 80)
    query = scope["query_string"].decode("latin-1")
    target = sent_path(scope) + (f"?{query}" if query else "")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root and root.encode().decode("latin-1"),
        "PATH_INFO": _path(scope, root),
        "QUERY_STRING": query,
        "REQUEST_URI": target,
        "RAW_URI": target,
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
    _add_headers(environ, scope)
    if "CONTENT_LENGTH" not in environ:
        # Tells Werkzeug that the file ends where the body ends, and is safe to read to its end.
        environ["wsgi.input_terminated"] = True
    return environ


def _add_headers(environ: dict[str, Any], scope: HTTPScope) -> None:
    """Add the value of every header by the name of its variable.

    ``X_Forwarded_For`` would have the same variable as ``X-Forwarded-For``, which proxies overwrite
    and applications trust. So names with an underscore are dropped, as in nginx and gunicorn.

    ``Upgrade`` is dropped as well: a server may ignore it (RFC 9110 section 7.8). With it, Werkzeug
    would match the URL of a request for a WebSocket against rules for WebSockets only.
    """
    repeated: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        if b"_" not in name and name != b"upgrade":
            variable = _variables.get(name) or _variable(name)
            text = value.decode("latin-1")
            if variable in environ:
                repeated.setdefault(variable, [environ[variable]]).append(text)
            else:
                environ[variable] = text
    for variable, values in repeated.items():
        # Several Cookie headers are joined with "; ", others with ",": RFC 9113 section 8.2.3 and
        # RFC 9110 section 5.3.
        environ[variable] = ("; " if variable == "HTTP_COOKIE" else ",").join(values)


def _variable(header: bytes) -> str:
    variable = header.decode("latin-1").upper().replace("-", "_")
    if variable not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
        variable = f"HTTP_{variable}"
    return _variables.keep(header, variable)


# Clients send the same few header names again and again.
_variables: Memo[bytes, str] = Memo(most=256, longest=64)


def sent_path(scope: HTTPScope) -> str:
    """Return the path as the client sent it, percent-encoded and without the query."""
    raw_path = scope.get("raw_path")
    return raw_path.decode("latin-1") if raw_path else quote(scope["path"])


def _path(scope: HTTPScope, root: str) -> str:
    path = scope["path"]
    if not root and path.isascii() and path.startswith("/"):  # nearly always
        return path
    raw_path = scope.get("raw_path")
    # A server decodes the path as UTF-8. If that lost a byte, the raw path still has it.
    lossy = raw_path and "\ufffd" in path
    as_bytes = unquote_to_bytes(raw_path) if raw_path and lossy else path.encode()
    path = as_bytes.decode("latin-1")
    # A client may send a whole URL (RFC 9112 section 3.2.2), which not every server splits.
    if not path.startswith("/") and "://" in path:
        path = "/" + path.partition("://")[2].partition("/")[2]
    # ASGI's path includes root_path, but not every server adds it.
    script_name = root.encode().decode("latin-1")
    if script_name and (path == script_name or path.startswith(script_name + "/")):
        path = path.removeprefix(script_name)
    return path
