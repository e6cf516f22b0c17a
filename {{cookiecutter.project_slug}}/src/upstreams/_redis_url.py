"""Tells a URL of a Redis from a slip, without showing it: it may hold a password."""

import re
from importlib.util import find_spec
from urllib.parse import urlsplit


def is_redis_url(text: str) -> bool:
    """Tell whether redis-py can take `text`, as far as that shows before it connects.

    Every character of a password that is no letter and no digit can be percent-encoded in it
    (RFC 3986 section 2.1); `/`, `?` and `#` must be.
    """
    # Some of what is not printed gets lost on the way. A `#`, and a `?` before the `@`, were meant
    # to be in the password.
    if not re.fullmatch(r"[^?#]+(\?[^?#@]*)?", text) or not text.isprintable():
        return False
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:  # the port is no number: a slash in the password ended the host before it
        return False
    if url.scheme == "unix":
        return url.path.startswith("/") and _takes_options(text)
    has_host = re.fullmatch(r"\S+", url.hostname or "") and port != 0
    has_number = re.fullmatch(r"(/\d{0,9})?", url.path)
    is_redis = url.scheme in {"redis", "rediss"} and has_host and has_number
    return bool(is_redis) and _takes_options(text)


def _takes_options(text: str) -> bool:
    """Tell whether redis-py knows what stands behind the question mark; only it does."""
    if "?" not in text or not find_spec("redis"):
        return True
    from redis.asyncio import ConnectionPool  # noqa: PLC0415 - an extra, and slow to import

    try:
        ConnectionPool.from_url(text).make_connection()  # type: ignore[no-untyped-call] # its own
    except (TypeError, ValueError, AttributeError):
        return False
    return True
