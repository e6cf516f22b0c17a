"""Bodies that were compressed on their way, decoded in steps that are bounded each.

A few compressed bytes can stand for a thousand times as many, so nothing is decoded before it is
known that there is room for it.
"""

import asyncio
import zlib
from collections.abc import AsyncIterable

import httpx

# How much is decoded at a time, in bytes: a fraction of a millisecond of the event loop.
STEP = 64 * 1024

# zlib's names for the formats: RFC 1952, RFC 1950 and RFC 1951.
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS

# RFC 9110 section 8.4.1.3: "x-gzip" is "gzip". These two are what the client asks for.
_CODINGS = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}

# What a coding may add to bytes that it cannot make fewer: the limit holds on the wire as well.
_OVERHEAD = 1024

# Without its name: an upstream can put anything there.
_NOT_ASKED_FOR = "is in a coding that was not asked for"


class TooLarge(Exception):
    """A body has more bytes than it may."""


class BadCoding(Exception):
    """A body is in a coding that was not asked for, or is no whole body in its coding."""


async def read(response: httpx.Response, *, max_bytes: int, may_be_empty: bool) -> bytes:
    """Return the body of a response that was not read yet, decoded, at most `max_bytes` of it.

    `may_be_empty` says that a reply has no body, whatever its header says about one.

    Raises `TooLarge`, `BadCoding`, or what the transport raises.
    """
    decoder: _Decoder | None = None
    body = _Body(max_bytes)
    encoded = 0
    assert isinstance(response.stream, AsyncIterable)  # noqa: S101 - from an asynchronous transport
    async for part in response.stream:
        if not encoded:  # only now: a reply without a body may name any coding
            decoder = _decoder(response.headers)
        encoded += len(part)
        if encoded > max_bytes + max_bytes // 1000 + _OVERHEAD:
            raise TooLarge
        if decoder is None:
            body.add(part)
        else:
            await decoder.feed(part, body)
    if not (encoded or may_be_empty):
        decoder = _decoder(response.headers)
    if decoder is not None and not decoder.is_complete:
        message = "ends before its coding does"
        raise BadCoding(message)
    return body.content


def refuse_transfer_coding(headers: httpx.Headers) -> None:
    """Raise `BadCoding` for any but "chunked", which is undone already: RFC 9112 section 7."""
    if headers.get("Transfer-Encoding", "chunked").strip().lower() != "chunked":
        raise BadCoding(_NOT_ASKED_FOR)


def _decoder(headers: httpx.Headers) -> "_Decoder | None":
    """Return what undoes the one coding of a body, None if it has none: RFC 9110 section 8.4."""
    named = [name.strip().lower() for name in headers.get("Content-Encoding", "").split(",")]
    codings = [name for name in named if name not in {"", "identity"}]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in _CODINGS:
        raise BadCoding(_NOT_ASKED_FOR)
    return _Decoder(_CODINGS[codings[0]])


class _Body:
    """The bytes of a body so far."""

    def __init__(self, max_bytes: int) -> None:
        self._parts: list[bytes] = []
        self.room = max_bytes

    def add(self, part: bytes) -> None:
        self.room -= len(part)
        if self.room < 0:
            raise TooLarge
        self._parts.append(part)

    @property
    def content(self) -> bytes:
        return b"".join(self._parts)


class _Decoder:
    """Decodes gzip, of any number of members (RFC 1952 section 2.2), or deflate.

    "deflate" is zlib's format (RFC 9110 section 8.4.1.2), but some servers send what is inside it
    alone (RFC 1951).
    """

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._stream: zlib._Decompress | None = None
        self._head = b""
        self.is_complete = False

    async def feed(self, data: bytes, body: _Body) -> None:
        data = self._head + data
        self._head = b""
        is_full = False  # then zlib may hold back some bytes, although it has taken all of `data`
        while data or is_full:
            if self._stream is None:
                data = self._begin(data)
                continue
            step = min(STEP, body.room + 1)
            try:
                part = self._stream.decompress(data, step)
            except zlib.error as error:
                message = "cannot be decoded"
                raise BadCoding(message) from error
            body.add(part)
            is_full = len(part) == step
            data = self._stream.unconsumed_tail
            if self._stream.eof:
                data, is_full = self._stream.unused_data, False
                self._stream, self.is_complete = None, True
            if data or is_full:
                await asyncio.sleep(0)  # what comes next is as much work again

    def _begin(self, data: bytes) -> bytes:
        """Get ready for what begins with `data`, and return what of it is to be decoded."""
        if self._coding == "gzip":
            # Zeros behind a member are padding, as for gzip(1); anything but a member is an error.
            data = data.lstrip(b"\0") if self.is_complete else data
            if data:
                self._start(_GZIP)
            return data
        if self.is_complete:
            message = "goes on behind its coding"
            raise BadCoding(message)
        if len(data) < 2:  # noqa: PLR2004 - the header of zlib's format, RFC 1950 section 2.2
            self._head = data
            return b""
        is_zlib = data[0] & 15 == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0
        self._start(_ZLIB if is_zlib else _RAW)
        return data

    def _start(self, form: int) -> None:
        self._stream, self.is_complete = zlib.decompressobj(form), False
