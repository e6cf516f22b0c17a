"""Compressed bodies, decoded in small steps and within a limit.

A few compressed bytes can decode to a thousand times as many, so the limit is checked after each
step.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, Iterator

import httpx

# Bytes that are decoded at a time, which takes the event loop a fraction of a millisecond.
STEP = 64 * 1024

# zlib's names for the formats: RFC 1952, RFC 1950 and RFC 1951.
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS

# RFC 9110 section 8.4.1.3: "x-gzip" is "gzip". The client asks for gzip and deflate.
_CODINGS = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}

# Bytes that a coding may add to a body that it cannot compress: the limit holds on the wire too.
_OVERHEAD = 1024

# The message does not name the coding: an upstream can put any text there.
_NOT_ASKED_FOR = "has a Content-Encoding that was not requested"


class TooLarge(Exception):
    """A body has more bytes than the limit."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"sent more than {max_bytes} bytes")


class BadCoding(Exception):
    """A body has a Content-Encoding that was not requested, or is incomplete in its coding."""


async def read(response: httpx.Response, *, max_bytes: int, may_be_empty: bool) -> bytes:
    """Return the whole body of a response that was not read yet, as `parts` yields it."""
    body = parts(response, max_bytes=max_bytes, may_be_empty=may_be_empty)
    return b"".join([part async for part in body])


async def read_plain(response: httpx.Response, *, max_bytes: int) -> bytes:
    """Do the same for a body that is in no coding, as most are."""
    assert isinstance(response.stream, AsyncIterable)  # noqa: S101 - as below
    received, size = [], 0
    async for part in response.stream:
        size += len(part)
        if size > max_bytes:
            raise TooLarge(max_bytes)
        received.append(part)
    return b"".join(received)


async def parts(
    response: httpx.Response, *, max_bytes: int | None, may_be_empty: bool
) -> AsyncGenerator[bytes, None]:
    """Yield the decoded body of a response that was not read yet, at most `max_bytes` of it.

    `may_be_empty` means that the reply may have no body, whatever its header says.

    Raises `TooLarge`, `BadCoding`, or an error of the transport.
    """
    decoder: _Decoder | None = None
    encoded = decoded = 0
    most = max_bytes
    assert isinstance(response.stream, AsyncIterable)  # noqa: S101 - from an asynchronous transport
    async for part in response.stream:
        if not encoded:  # only now: a reply without a body may name any coding
            decoder = _decoder(response.headers)
        encoded += len(part)
        if most is not None and encoded > most + most // 1000 + _OVERHEAD:
            raise TooLarge(most)
        is_first = True
        for piece in (part,) if decoder is None else decoder.feed(part):
            decoded += len(piece)
            if most is not None and decoded > most:
                raise TooLarge(most)
            if not is_first:
                await asyncio.sleep(0)  # let the loop run between two steps
            is_first = False
            yield piece
    if not (encoded or may_be_empty):
        decoder = _decoder(response.headers)
    if decoder is not None and not decoder.is_complete:
        message = "is truncated within its Content-Encoding"
        raise BadCoding(message)


def refuse_transfer_coding(headers: httpx.Headers) -> None:
    """Raise `BadCoding` for any transfer coding but "chunked": RFC 9112 section 7.

    The transport has decoded "chunked" already, and no other was asked for.
    """
    if headers.get("Transfer-Encoding", "chunked").strip().lower() != "chunked":
        raise BadCoding(_NOT_ASKED_FOR)


def _decoder(headers: httpx.Headers) -> "_Decoder | None":
    """Return the decoder for the one coding of a body, None if it has none: RFC 9110 section 8.4.

    Raises `BadCoding` for several codings, and for one that was not asked for.
    """
    named = [name.strip().lower() for name in headers.get("Content-Encoding", "").split(",")]
    codings = [name for name in named if name not in {"", "identity"}]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in _CODINGS:
        raise BadCoding(_NOT_ASKED_FOR)
    return _Decoder(_CODINGS[codings[0]])


class _Decoder:
    """Decodes gzip, of any number of members (RFC 1952 section 2.2), or deflate.

    "deflate" is zlib's format (RFC 9110 section 8.4.1.2), but some servers send only the data
    inside it (RFC 1951).
    """

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._stream: zlib._Decompress | None = None
        self._head = b""
        self.is_complete = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode `data`, and yield at most `STEP` bytes at a time."""
        data = self._head + data
        self._head = b""
        is_full = False  # if True, zlib may hold back bytes, although it has taken all of `data`
        while data or is_full:
            if self._stream is None:
                data = self._begin(data)
                continue
            try:
                piece = self._stream.decompress(data, STEP)
            except zlib.error as error:
                message = "cannot be decoded"
                raise BadCoding(message) from error
            is_full = len(piece) == STEP
            data = self._stream.unconsumed_tail
            if self._stream.eof:
                data, is_full = self._stream.unused_data, False
                self._stream, self.is_complete = None, True
            yield piece

    def _begin(self, data: bytes) -> bytes:
        """Start a decoder for `data`, and return the part of `data` that it has to decode."""
        if self._coding == "gzip":
            # Zeros after a member are padding, as for gzip(1); anything but a member is an error.
            data = data.lstrip(b"\0") if self.is_complete else data
            if data:
                self._start(_GZIP)
            return data
        if self.is_complete:
            message = "has data after the end of its Content-Encoding"
            raise BadCoding(message)
        if len(data) < 2:  # noqa: PLR2004 - the header of zlib's format, RFC 1950 section 2.2
            self._head = data
            return b""
        is_zlib = data[0] & 15 == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0
        self._start(_ZLIB if is_zlib else _RAW)
        return data

    def _start(self, form: int) -> None:
        self._stream, self.is_complete = zlib.decompressobj(form), False
