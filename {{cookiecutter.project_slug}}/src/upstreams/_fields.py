"""Makes and reads httpx's headers without decoding them.

`httpx.Headers` decodes every field to look up a single field, and normalizes each field that it
gets. Its `_list` has the name, the name in lower case and the value of each field, in bytes.
"""

from collections.abc import Iterable

import httpx

Field = tuple[bytes, bytes]


def headers_of(fields: Iterable[Field]) -> httpx.Headers:
    """Return headers with these fields."""
    return with_fields(httpx.Headers(), fields)


def with_fields(headers: httpx.Headers, fields: Iterable[Field]) -> httpx.Headers:
    """Return a copy of `headers` with these fields appended."""
    copy = httpx.Headers(headers)
    copy._list += [(name, name.lower(), value) for name, value in fields]  # noqa: SLF001
    return copy


def names_of(headers: httpx.Headers) -> set[bytes]:
    """Return the names of the fields, in lower case."""
    return {name for _, name, _ in headers._list}  # noqa: SLF001
