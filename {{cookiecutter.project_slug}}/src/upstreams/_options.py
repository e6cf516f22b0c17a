"""The options of a call: a subset of httpx's options, with their types.

httpx names its types in a private module, so they are defined again here.
"""

from collections.abc import AsyncIterable, Callable, Collection, Mapping, Sequence
from typing import IO, Any, TypeAlias, TypedDict

import httpx

Primitive: TypeAlias = str | int | float | bool | None
Params: TypeAlias = (
    httpx.QueryParams
    | Mapping[str, Primitive | Sequence[Primitive]]
    | Sequence[tuple[str, Primitive]]
    | str
    | bytes
)
Headers: TypeAlias = (
    httpx.Headers
    | Mapping[str, str]
    | Mapping[bytes, bytes]
    | Sequence[tuple[str, str]]
    | Sequence[tuple[bytes, bytes]]
)
Auth: TypeAlias = (
    tuple[str | bytes, str | bytes] | Callable[[httpx.Request], httpx.Request] | httpx.Auth
)
FileContent: TypeAlias = IO[bytes] | bytes | str
File: TypeAlias = (
    FileContent
    | tuple[str | None, FileContent]
    | tuple[str | None, FileContent, str | None]
    | tuple[str | None, FileContent, str | None, Mapping[str, str]]
)

Pairs: TypeAlias = tuple[tuple[str, str], ...]


class GetOptions(TypedDict, total=False):
    """The options of every call.

    - `params`: the query, as httpx takes it. A name in it replaces the same name in a path's or a
      base URL's query.
    - `headers`: each replaces the default header of that name.
    - `auth`: a user and password, a function that completes a request, or an `httpx.Auth`.
    - `timeout`: seconds for this call with its retries, in place of the upstream's own.
    - `accept`: statuses other than 2xx that are returned and not raised, such as `{404}`.
    """

    params: Params | None
    headers: Headers | None
    auth: Auth | None
    timeout: float | None
    accept: Collection[int]


class RequestOptions(GetOptions, total=False):
    """The options of a call that can have a body: one of these, or `data` with `files`.

    - `json`: any value that `json.dumps` accepts.
    - `content`: bytes, text, or an asynchronous iterable of bytes, which is sent as it is made.
    - `data`: the fields of a form.
    - `files`: a multipart form; files are read while they are sent.
    """

    json: object
    content: str | bytes | AsyncIterable[bytes] | None
    data: Mapping[str, Any] | None
    files: Mapping[str, File] | Sequence[tuple[str, File]] | None


def pairs(params: Params | None) -> Pairs | None:
    """Return the names and values of a query in their order; None for no query."""
    if params is None:
        return None
    if type(params) is dict and all(type(value) is str for value in params.values()):
        return tuple(params.items())  # most calls; httpx's own code takes ten times as long
    if isinstance(params, Sequence) and not isinstance(params, str | bytes):
        params = list(params)
    return tuple(httpx.QueryParams(params).multi_items())
