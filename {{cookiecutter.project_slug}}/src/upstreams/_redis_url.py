"""A check of a Redis URL at start-up, before anything connects."""

import re
from importlib.util import find_spec
from urllib.parse import urlsplit


def is_redis_url(text: str) -> bool:
    """Return whether redis-py accepts `text`, as far as that shows before it connects.

    Examples: `redis://:password@host:6379/0`, `rediss://...`, `unix:///socket`. In a password,
    every character but letters and digits has to be percent-encoded.
    """
    # Parsing drops some unprintable characters. A `#`, and a `?` before the `@`, was meant to be
    # part of the password.
    if not re.fullmatch(r"[^?#]+(\?[^?#@]*)?", text) or not text.isprintable():
        return False
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:  # the port is no number: a slash in the password ended the host too early
        return False
    if url.scheme == "unix":
        return url.path.startswith("/") and not url.hostname and _takes_options(text)
    has_host = re.fullmatch(r"\S+", url.hostname or "") and port != 0
    has_number = re.fullmatch(r"(/\d{0,9})?", url.path)
    is_redis = url.scheme in {"redis", "rediss"} and has_host and has_number
    return bool(is_redis) and _takes_options(text)


def _takes_options(text: str) -> bool:
    """Return whether redis-py accepts the options after the question mark."""
    if "?" not in text or not find_spec("redis"):
        return True
    from redis.asyncio import ConnectionPool  # noqa: PLC0415 - optional, and slow to import

    try:
        ConnectionPool.from_url(text).make_connection()  # type: ignore[no-untyped-call] # its own
    except (TypeError, ValueError, AttributeError):
        return False
    return True
