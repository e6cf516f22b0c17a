"""The head of a request: no method, field or length makes it two requests."""

from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from upstreams._head import request_head

URL = "http://upstream.example/prices"


def get(**fields: str) -> httpx.Request:
    return httpx.Request("GET", URL, headers=fields)


async def parts() -> AsyncIterator[bytes]:
    """Yield a streamed body."""
    yield b"one"


def sent_fields(head: bytes) -> dict[bytes, bytes]:
    """Return the fields of a head by name, all of which must differ."""
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")[1:]
    pairs = [line.split(b": ", 1) for line in lines]
    fields = {name.lower(): value for name, value in pairs}

    assert len(fields) == len(lines)
    return fields


def test_a_head_has_the_request_line_and_every_field() -> None:
    request = get(Accept="*/*")

    head = request_head(request, b"", [(b"Authorization", b"Basic x")])

    lines = head.split(b"\r\n")
    assert lines[0] == b"GET /prices HTTP/1.1"
    assert sorted(lines[1:-2]) == [
        b"Accept: */*",
        b"Authorization: Basic x",
        b"Host: upstream.example",
    ]
    assert lines[-2:] == [b"", b""]


@given(name=st.binary(), value=st.binary())
@example(name=b"X", value=b"a\r\nY: b")
@example(name=b"X", value=b"a\nb")
@example(name=b"X: a\r\nY", value=b"b")
@example(name=b"X", value=b"a\r\n\r\nGET / HTTP/1.1")
@example(name=b"X", value=b"\0")
@example(name=b"", value=b"a")
@example(name=b"X ", value=b"a")
@example(name=b"X:", value=b"a")
def test_a_field_is_sent_as_one_field_or_refused(name: bytes, value: bytes) -> None:
    request = httpx.Request("GET", URL)
    try:
        head = request_head(request, b"", [(name, value)])
    except ValueError:
        return

    assert head.split(b"\r\n")[1:] == [b"Host: upstream.example", name + b": " + value, b"", b""]


@given(method=st.text())
@example(method="GE T")
@example(method="GET / HTTP/1.1\r\nX:")
@example(method="")
@example(method="GÉT")
def test_a_method_is_sent_as_one_word_or_refused(method: str) -> None:
    request = httpx.Request(method, URL)
    try:
        head = request_head(request, b"", [])
    except ValueError:
        return

    line = head.partition(b"\r\n")[0]
    assert line.split(b" ") == [method.upper().encode("ascii"), b"/prices", b"HTTP/1.1"]


@pytest.mark.parametrize("field", ["Content-Length", "content-length", "Transfer-Encoding"])
@pytest.mark.parametrize("value", ["0", "3", "99", "chunked", "gzip, chunked"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("content", [b"", b"hello"])
def test_the_content_length_is_the_length_of_the_sent_body(
    content: bytes, method: str, field: str, value: str
) -> None:
    request = httpx.Request(method, URL, headers={field: value}, content=content)

    fields = sent_fields(request_head(request, content, []))

    assert fields[b"content-length"] == b"%d" % len(content)
    assert b"transfer-encoding" not in fields


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (b"transfer-encoding", b"chunked")),
        ({"Transfer-Encoding": "gzip"}, (b"transfer-encoding", b"chunked")),
        ({"Content-Length": "3"}, (b"content-length", b"3")),
        ({"Content-Length": "3", "Transfer-Encoding": "chunked"}, (b"content-length", b"3")),
    ],
)
def test_a_streamed_body_is_framed_once(
    given: dict[str, str], expected: tuple[bytes, bytes]
) -> None:
    request = httpx.Request("POST", URL, headers=given, content=parts())

    fields = sent_fields(request_head(request, None, []))

    framing = {name: fields[name] for name in fields if name != b"host"}
    assert framing == dict([expected])


@pytest.mark.parametrize("length", ["", "-1", "1.5", "3, 3", "²", "many"])
def test_an_invalid_content_length_is_refused(length: str) -> None:
    request = httpx.Request("POST", URL, content=parts())
    request.headers["Content-Length"] = length.encode("utf-8").decode("latin-1")

    with pytest.raises(ValueError, match="Content-Length"):
        request_head(request, None, [])


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_method_that_may_have_a_body_sends_content_length_0(method: str) -> None:
    request = httpx.Request(method, URL)

    assert sent_fields(request_head(request, b"", []))[b"content-length"] == b"0"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_method_without_a_body_sends_no_content_length(method: str) -> None:
    request = httpx.Request(method, URL)

    assert b"content-length" not in sent_fields(request_head(request, b"", []))
