"""Compressed replies are decoded completely and within limits, or refused."""

import asyncio
import gzip
import random
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache

import httpx
import pytest
from upstreams import _decoding as decoding
from upstreams._errors import UpstreamInvalid
from upstreams._upstream import Upstream

from .fake_upstream import http_reply, serve

pytestmark = pytest.mark.anyio

MB = 1024 * 1024
TEXT = b"the quick brown fox " * 500


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


async def fetch(reply: bytes, *, method: str = "GET", limit: int = MB) -> httpx.Response:
    async with serve(reply) as served:
        upstream = Upstream(
            "raw", served.base_url, timeout=20, max_connections=1, max_response_bytes=limit
        )
        async with upstream.open():
            return await upstream.request(method, "/")


def coded(body: bytes, coding: str) -> bytes:
    return http_reply(body, f"Content-Encoding: {coding}")


ONE, TWO = gzip.compress(TEXT), gzip.compress(b"lazy dog")
GOOD = {
    "gzip": (coded(ONE, "gzip"), TEXT),
    "x-gzip": (coded(ONE, "x-gzip"), TEXT),
    "GZip": (coded(ONE, "GZip"), TEXT),
    "gzip of nothing": (coded(gzip.compress(b""), "gzip"), b""),
    "two members": (coded(ONE + TWO, "gzip"), TEXT + b"lazy dog"),
    "many members": (coded(TWO * 500, "gzip"), b"lazy dog" * 500),
    "padding": (coded(ONE + bytes(100), "gzip"), TEXT),
    "padding between members": (coded(ONE + bytes(100) + TWO, "gzip"), TEXT + b"lazy dog"),
    "stored": (coded(gzip.compress(TEXT, 0), "gzip"), TEXT),
    "zlib": (coded(zlib.compress(TEXT), "deflate"), TEXT),
    "raw deflate": (coded(raw_deflate(TEXT), "deflate"), TEXT),
    "deflate of nothing": (coded(zlib.compress(b""), "deflate"), b""),
    "identity": (coded(TEXT, "identity"), TEXT),
    "nothing": (coded(TEXT, ""), TEXT),
    "identity, gzip": (coded(ONE, "identity, gzip"), TEXT),
    "an empty body": (coded(b"", "gzip"), b""),
}
BAD = {
    "br": coded(TEXT, "br"),
    "zstd": coded(TEXT, "zstd"),
    "compress": coded(TEXT, "compress"),
    "unknown": coded(TEXT, "s3cret"),
    "two codings": coded(gzip.compress(ONE), "gzip, gzip"),
    "two fields": http_reply(
        gzip.compress(ONE), "Content-Encoding: gzip", "Content-Encoding: gzip"
    ),
    "three codings": coded(gzip.compress(ONE), "gzip,deflate,br"),
    "not gzip": coded(TEXT, "gzip"),
    "not deflate": coded(b"\x07\x07\x07", "deflate"),
    "trailing garbage": coded(ONE + b"garbage", "gzip"),
    "garbage after padding": coded(ONE + bytes(3) + b"garbage", "gzip"),
    "garbage after deflate": coded(zlib.compress(TEXT) + b"x", "deflate"),
    "deflate twice": coded(zlib.compress(TEXT) * 2, "deflate"),
    "a wrong checksum": coded(ONE[:-8] + bytes(4) + ONE[-4:], "gzip"),
    "a wrong length": coded(ONE[:-4] + bytes(4), "gzip"),
    "a second member cut off": coded(ONE + TWO[:-1], "gzip"),
    "one byte of deflate": coded(b"\x78", "deflate"),
    "a transfer coding": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
        + f"{len(ONE):x}\r\n".encode()
        + ONE
        + b"\r\n0\r\n\r\n"
    ),
    "chunks of nothing": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
}


@pytest.mark.parametrize(("reply", "text"), GOOD.values(), ids=GOOD.keys())
async def test_a_reply_is_decoded_completely(reply: bytes, text: bytes) -> None:
    response = await fetch(reply)

    assert response.content == text
    assert "content-encoding" not in response.headers
    assert response.headers.get("content-length", "0") == str(len(text))


@pytest.mark.parametrize("reply", BAD.values(), ids=BAD.keys())
async def test_a_reply_that_cannot_be_decoded_completely_is_invalid(reply: bytes) -> None:
    with pytest.raises(UpstreamInvalid, match="sent a reply that cannot be read") as error:
        await fetch(reply)

    assert "s3cret" not in str(vars(error.value))


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw"])
async def test_a_truncated_body_is_never_a_success(coding: str) -> None:
    packed = {"gzip": TWO + TWO, "deflate": zlib.compress(TEXT), "raw": raw_deflate(TEXT)}[coding]
    field = "deflate" if coding == "raw" else coding
    whole = {len(TWO)} if coding == "gzip" else set()  # a body with fewer members is complete too
    for length in set(range(1, len(packed))) - whole:
        with pytest.raises(decoding.BadCoding):
            await read(packed[:length], field)
    assert await read(packed, field)


async def read(body: bytes, coding: str, *, piece: int = 7, limit: int = MB) -> bytes:
    """Return the body, which arrives in pieces."""

    class Pieces(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for start in range(0, len(body), piece):
                yield body[start : start + piece]

    headers = {"Content-Encoding": coding}
    response = httpx.Response(200, headers=headers, stream=Pieces())
    return await decoding.read(response, max_bytes=limit, may_be_empty=False)


def packings(data: bytes) -> Iterator[tuple[str, bytes]]:
    yield "gzip", gzip.compress(data)
    yield "gzip", gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2 :])
    yield "deflate", zlib.compress(data, 9)
    yield "deflate", raw_deflate(data)


async def test_a_body_in_pieces_of_any_size_is_decoded() -> None:
    chance = random.Random(11)  # noqa: S311 - no secret
    for _ in range(60):
        size = chance.choice([1, 100, decoding.STEP - 1, decoding.STEP, decoding.STEP + 1, 200_000])
        data = chance.choice([chance.randbytes(size), bytes(size), TEXT * (size // 10_000 + 1)])
        for coding, packed in packings(data):
            piece = chance.choice([1, 2, 3, 1000, len(packed)])
            piece = max(piece, len(packed) // 500)
            assert await read(packed, coding, piece=piece) == data


@pytest.mark.parametrize("size", [MB, MB + 1])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "identity"])
async def test_the_limit_is_exact(size: int, coding: str) -> None:
    data = bytes(size)
    packed = {"gzip": gzip.compress(data), "deflate": zlib.compress(data)}.get(coding, data)
    if size > MB:
        with pytest.raises(UpstreamInvalid, match=f"sent more than {MB} bytes"):
            await fetch(coded(packed, coding))
    else:
        assert len((await fetch(coded(packed, coding))).content) == size


async def test_an_incompressible_body_still_fits_into_the_limit() -> None:
    data = random.Random(11).randbytes(MB)  # noqa: S311 - no secret

    assert (await fetch(coded(gzip.compress(data), "gzip"))).content == data


@cache
def bomb() -> bytes:
    return gzip.compress(bytes(100 * MB))


# Made when they are sent: every worker of the tests imports this module.
BOMBS: dict[str, Callable[[], bytes]] = {
    "100 KB that are 100 MB": lambda: coded(bomb(), "gzip"),
    "300 bytes that are 100 MB": lambda: coded(gzip.compress(bomb()), "gzip, gzip"),
    "three layers": lambda: coded(gzip.compress(gzip.compress(bomb())), "gzip, gzip, gzip"),
    "deflate": lambda: coded(zlib.compress(bytes(100 * MB)), "deflate"),
    "100,000 empty members": lambda: coded(gzip.compress(b"") * 100_000, "gzip"),
}


@pytest.mark.parametrize("reply", BOMBS.values(), ids=BOMBS.keys())
async def test_a_bomb_is_refused_before_it_takes_the_memory(reply: Callable[[], bytes]) -> None:
    async with serve(reply()) as served:
        upstream = Upstream(
            "raw", served.base_url, timeout=50, max_connections=1, max_response_bytes=MB
        )
        tracemalloc.start()
        try:
            with pytest.raises(UpstreamInvalid):
                await upstream.get("/")
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert most < 8 * MB


async def test_decoding_does_not_block_the_loop() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    packed = gzip.compress(bytes(8 * MB))
    await read(packed, "gzip", piece=len(packed), limit=8 * MB)
    counting.cancel()

    assert turns >= 8 * MB / decoding.STEP - 1


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content"), ("DELETE", "204 Done")]
)
@pytest.mark.parametrize("coding", ["gzip", "br, gzip", "br"])
async def test_a_reply_without_a_body_needs_no_decoding(
    method: str, status: str, coding: str
) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Encoding: {coding}\r\n"
    length = "Content-Length: 99999999\r\n" if method == "HEAD" else ""
    response = await fetch(f"{head}{length}\r\n".encode(), method=method)

    assert response.content == b""


@pytest.mark.parametrize("length", ["\u00b2", "9" * 30, "-1", "0x10", "1_0", "", "5, 5"])
async def test_an_invalid_content_length_is_ignored(length: str) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        headers = [(b"Content-Length", length.encode("latin-1", "replace"))]
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(b"hello"))

    upstream = Upstream(
        "raw",
        "http://raw.invalid",
        timeout=5,
        max_connections=1,
        max_response_bytes=10,
        transport=lambda: httpx.MockTransport(answer),
    )

    assert (await upstream.get("/")).content == b"hello"
