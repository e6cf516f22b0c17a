"""The head of a request as it is sent: RFC 9112 sections 3 to 6."""

import re

import httpx

from ._fields import Field, names_of

# RFC 9110 sections 5.6.2 and 5.5: a name is a token, and a value has no control character but a
# tab. A line break in a value would begin another field, or another request.
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_METHOD = re.compile(_WORD)
_FIELDS = re.compile(rf"(?:{_WORD}: [\t -~\x80-\xff]*\r\n)*".encode("latin-1"))

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})

# Methods whose requests usually have no body. Without a body, other methods send Content-Length: 0:
# some servers would wait for a body (RFC 9110 section 8.6).
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def request_head(request: httpx.Request, content: bytes | None, added: list[Field]) -> bytes:
    """Return the request line and the fields of `request`, with those that are `added`.

    `content` is the body, or None for a body that is sent as it is made. The fields for the body's
    length describe the body that is really sent: with a wrong length the upstream would take a part
    of it for the next request (RFC 9112 section 6.3).

    Raises `ValueError` for a method, a name or a value that cannot be sent unchanged.
    """
    headers = request.headers
    fields = [*headers.raw, *added]
    is_framed = not _FRAMING.isdisjoint(names_of(headers))
    if is_framed:
        fields = [field for field in fields if field[0].lower() not in _FRAMING]
    if is_framed or content != b"" or request.method not in _BODILESS:
        fields.append(_framing(request, content))
    lines = [b"%b: %b\r\n" % field for field in fields]
    text = b"".join(lines)
    if _FIELDS.fullmatch(text) is None or text.count(b"\n") > len(lines):
        message = "a header's name must be a token, and its value have no control characters"
        raise ValueError(message)
    if _METHOD.fullmatch(request.method) is None:
        message = f"a method must be a token, not {request.method!r}"
        raise ValueError(message)
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (request.method.encode(), request.url.raw_path, text)


def _framing(request: httpx.Request, content: bytes | None) -> Field:
    length = sent_length(request) if content is None else len(content)
    if length is None:
        return b"Transfer-Encoding", b"chunked"
    return b"Content-Length", b"%d" % length


def sent_length(request: httpx.Request) -> int | None:
    """Return the Content-Length of a request, None without the header.

    Raises `ValueError` for a value that is not a length: RFC 9110 section 8.6.
    """
    given = request.headers.get("Content-Length")
    if given is None:
        return None
    if not (given.isascii() and given.isdigit()):
        message = "a Content-Length must be a number of bytes"
        raise ValueError(message)
    return int(given)
