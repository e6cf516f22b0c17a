"""JSON with exact numbers, whatever the text is."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upstreams import exact_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("true", True),
        ('"text"', "text"),
        ("[]", []),
        ("1", Decimal(1)),
        ("-0", Decimal("-0")),
        ("0.10", Decimal("0.10")),
        ("1e3", Decimal("1E+3")),
        (b'{"a": [0.1, {"b": 2}]}', {"a": [Decimal("0.1"), {"b": Decimal(2)}]}),
        (b"\xef\xbb\xbf1", Decimal(1)),
        ("1e40", Decimal("1e40")),
        ("1e-40", Decimal("1e-40")),
        ("9" * 40, Decimal("9" * 40)),
    ],
)
def test_a_text_is_read_exactly(text: str | bytes, value: object) -> None:
    assert repr(exact_json(text)) == repr(value)


@pytest.mark.parametrize(
    "number",
    [
        *("9" * 41, "9" * 5000, "0." + "1" * 39, "1e41", "1e-41", "0E-400000000", "0E400000000"),
        *("1E400000000", "1e99999999999999999999", "1e-99999999999999999999", "0E-" + "9" * 30),
    ],
)
def test_a_number_beyond_the_limits_is_none_at_all(number: str) -> None:
    value = exact_json(f'{{"far": {number}, "near": 1.5}}')

    assert value["far"].is_nan()
    assert value["near"] == Decimal("1.5")


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "<html>", "{", "[1,]", "01", "1.", "NaN", "Infinity", "-Infinity", "[NaN]"),
        *('{"a": 1, "a": 2}', '{"b": {"a": 1, "a": 1}}', "1}", b"\xff", "'a'", '{"a": 1} {}'),
        *("[" * 200_000, '{"a":' * 200_000, "[" * 200_000 + "]" * 200_000),
    ],
)
def test_another_text_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        exact_json(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers(-(10**38), 10**38),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_every_other_value_is_that_of_the_standard_library(value: object) -> None:
    assert exact_json(json.dumps(value)) == value


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=0, max_value=10**12))
def test_every_decimal_keeps_its_digits(number: Decimal) -> None:
    assert str(exact_json(str(number))) == str(number)
