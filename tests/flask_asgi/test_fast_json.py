"""`FastProvider` writes the same text as `StrictProvider`, and refuses the same objects."""

import dataclasses
import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from flask import Flask, jsonify
from flask_asgi import FastProvider, StrictProvider
from hypothesis import example, given
from hypothesis import strategies as st
from markupsafe import Markup

COMPACT = {"separators": (",", ":")}
FAST, STRICT = FastProvider(Flask("fast")), StrictProvider(Flask("strict"))

# orjson may write other numbers with different digits.
USUAL = st.floats(1e-4, 1e15) | st.floats(-1e15, -1e-4)
TEXT = st.text(st.characters(codec=None, exclude_categories=()))
LEAVES = (
    st.none() | st.booleans() | st.integers() | USUAL | TEXT | st.decimals() | st.uuids()
) | st.dates()
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(TEXT, inner)
        | st.dictionaries(st.integers() | st.booleans() | st.none(), inner)
    ),
)


class Text(str):
    """A subclass of `str`."""

    __slots__ = ()


class Number(IntEnum):
    ONE = 1


class Word(StrEnum):
    ONE = "one"


class Plain(Enum):
    ONE = "one"


@dataclasses.dataclass
class Point:
    x: int
    when: datetime | None = None


def written(provider: StrictProvider, value: object, **kwargs: Any) -> str | type[Exception]:
    try:
        return provider.dumps(value, **(COMPACT | kwargs))
    except Exception as error:  # noqa: BLE001 - compared
        return type(error)


@given(value=VALUES)
@example({"é": "\x7f\u2028\U0001f34f</script>&'\"\\\b\f\n\r\t\x00\x1f"})
@example({"b": 1, "a": 2, "é": 3, "\U0001f34f": 4, "\uffff": 5})
@example("\ud83d")
@example({"\ud83d": 1})
@example({1: 2, "1": 3})
@example({"a": None})
@example(2**64)
@example(-(2**63) - 1)
def test_both_providers_write_the_same_text(value: object) -> None:
    assert written(FAST, value) == written(STRICT, value)


@pytest.mark.parametrize(
    "value",
    [
        *(datetime(2026, 1, 2, 3, 4, 5, 6, UTC), date(2026, 1, 2), UUID(int=7), Decimal("1.10")),
        *(Point(1), [Point(2, datetime(2026, 1, 2, tzinfo=UTC))], Markup("<b>"), Text("é")),
        *(Number.ONE, Word.ONE, {Word.ONE: Number.ONE}, {Text("a"): 1}, True, 0.0, -0.0, 1e-4),
        *([math.nan], {"a": math.inf}, -math.inf, {"a": {"b": [None, math.nan]}}),
        *(object(), {1, 2}, b"x", {(1, 2): 3}, MappingProxyType({"a": 1}), 2**100, [[[]]]),
        json.loads("[" * 300 + "]" * 300),
    ],
    ids=lambda value: type(value).__name__,
)
def test_both_providers_write_each_type_in_the_same_way(value: object) -> None:
    assert written(FAST, [value]) == written(STRICT, [value])
    assert written(FAST, value) == written(STRICT, value)


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_keeps_its_value(number: float) -> None:
    assert json.loads(FAST.dumps([number], **COMPACT)) == [number]


def test_a_circular_value_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)

    assert written(FAST, circle) is ValueError


def test_an_enumeration_is_written_as_its_value() -> None:
    assert (written(FAST, Plain.ONE), written(STRICT, Plain.ONE)) == ('"one"', TypeError)


@pytest.mark.parametrize("name", ["sort_keys", "ensure_ascii"])
def test_the_settings_of_an_application_apply(name: str) -> None:
    fast, strict = FastProvider(Flask("fast")), StrictProvider(Flask("strict"))
    for each in (fast, strict):
        setattr(each, name, False)

    value = {"é": "ü\x7f", "a": [1.5, {"c": 1, "b": 2}]}
    assert written(fast, value) == written(strict, value) != written(STRICT, value)


@pytest.mark.parametrize("kwargs", [{"indent": 2}, {"separators": (", ", ": ")}, {"cls": None}])
def test_the_arguments_of_dumps_apply(kwargs: dict[str, Any]) -> None:
    value = {"b": 1, "a": "é"}

    assert written(FAST, value, **kwargs) == written(STRICT, value, **kwargs)


def test_an_applications_own_default_is_called() -> None:
    fast = FastProvider(Flask("fast"))
    fast.default = lambda _: "mine"

    assert fast.dumps(UUID(int=1), **COMPACT) == '"mine"'


def test_a_response_is_written_by_orjson(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Flask("tested")
    app.json = FastProvider(app)
    app.add_url_rule("/", "index", lambda: jsonify(b=1, a="é"))
    monkeypatch.setattr(StrictProvider, "dumps", lambda *_, **__: pytest.fail("not by orjson"))

    assert app.test_client().get("/").data == b'{"a":"\\u00e9","b":1}\n'
