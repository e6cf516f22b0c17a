"""Headers that are made and read without httpx's own code, which decodes every field."""

import httpx
from hypothesis import given
from hypothesis import strategies as st
from upstreams._fields import headers_of, names_of, with_fields

NAMES = st.sampled_from([b"Accept", b"accept", b"X-Request-ID", b"Content-Encoding", b"Set-Cookie"])
FIELDS = st.lists(st.tuples(NAMES | st.binary(), st.binary()))


@given(fields=FIELDS)
def test_headers_equal_those_of_httpx(fields: list[tuple[bytes, bytes]]) -> None:
    made, expected = headers_of(fields), httpx.Headers(fields)

    assert made.raw == expected.raw
    assert made == expected
    assert made.multi_items() == expected.multi_items()
    assert names_of(made) == {name.lower() for name, _ in fields}


@given(first=FIELDS, second=FIELDS)
def test_fields_are_added_to_a_copy(
    first: list[tuple[bytes, bytes]], second: list[tuple[bytes, bytes]]
) -> None:
    headers = httpx.Headers(first)

    assert with_fields(headers, second) == httpx.Headers([*first, *second])
    assert headers.raw == first


def test_later_changes_of_headers_have_the_same_effect_as_in_httpx() -> None:
    headers = with_fields(httpx.Headers({"Accept": "*/*"}), [(b"X-Request-ID", b"1")])

    headers["accept"] = "text/plain"
    headers.update({"X-REQUEST-ID": "2", "B": "c"})

    assert headers.multi_items() == [("accept", "text/plain"), ("x-request-id", "2"), ("b", "c")]
