"""Every record is one line, one JSON object, with the members that tools rely on."""

import json
import logging
import re
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from flask_asgi import JsonFormatter
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Mapping

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(ANY_TEXT | st.integers() | st.tuples(st.text()), inner)
        | st.sets(st.integers())
    ),
)


def formatted(**attributes: Any) -> dict[str, Any]:
    """Return the members of the line of a record that has these attributes."""
    record = logging.makeLogRecord({"name": "x", "levelname": "INFO", "msg": "", **attributes})
    line = JsonFormatter().format(record)
    assert line.splitlines() == [line]
    assert line.isascii()
    members: dict[str, Any] = json.loads(line, parse_constant=pytest.fail)
    return members


@given(message=ANY_TEXT, value=ANYTHING, name=st.text(min_size=1))
def test_anything_is_one_line_of_json(message: str, value: object, name: str) -> None:
    members = formatted(msg="%s", args=(message,), **{"what": value, f"extra {name}": value})

    assert members.keys() >= {"time", "level", "logger", "message", "what"}


def test_a_circular_value_is_written_as_text() -> None:
    circle: list[Any] = ["token=S3CR3T"]
    circle.append(circle)

    assert formatted(what=circle, other=1) | {"time": 0} == {
        "time": 0,
        "level": "INFO",
        "logger": "x",
        "message": "",
        "what": "['token=[redacted] [...]]",
        "other": 1,
    }


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (float("nan"), "nan"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (MappingProxyType({"a": 1}), "{'a': 1}"),
        (UUID(int=7), str(UUID(int=7))),
        (b"x", "b'x'"),
        ((1, "two", None), [1, "two", None]),
    ],
)
def test_a_value_that_is_not_json_is_written_as_text(value: object, written: object) -> None:
    assert formatted(what=value)["what"] == written


@pytest.mark.parametrize("name", ["time", "level", "logger"])
def test_no_field_replaces_a_standard_member(name: str) -> None:
    members = formatted(**{name: "forged"})

    assert members[name] != "forged"
    assert members[f"{name}_"] == "forged"


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001 - hypothesis asks
def test_the_time_of_the_record_is_written_in_utc(time: datetime) -> None:
    time = time.replace(tzinfo=UTC, microsecond=0)
    created = time.timestamp() + 0.25

    members = formatted(created=created, msecs=250.0)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.250\+00:00", members["time"])
    assert datetime.fromisoformat(members["time"]).timestamp() == created


def test_an_exception_and_a_stack_are_members() -> None:
    error = ValueError("two\nlines")

    members = formatted(exc_info=(ValueError, error, None), stack_info="the stack", msg="x\n")

    assert members["exc_info"] == "ValueError: two\nlines"
    assert members["stack_info"] == "the stack"
    assert members["message"] == "x"


def test_uvicorns_coloured_message_is_left_out() -> None:
    members: Mapping[str, Any] = formatted(color_message="\x1b[31m")

    assert "color_message" not in members
