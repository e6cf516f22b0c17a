"""Whatever a client sends as JSON is read, or refused with a `ValueError` that says where."""

import json
from types import ModuleType

import pytest
from flask import Flask
from hypothesis import example, given, settings
from hypothesis import strategies as st

from .baking import ROOT

SOURCE = "{{cookiecutter.project_slug}}/src/flask_asgi/_strict_json.py"

# What has a meaning in JSON or nearly has one, for texts that are almost JSON.
PARTS = [
    *("{", "}", "[", "]", ",", ":", '"', "\\", "\n", " ", "-", ".", "e", "E", "+", "0", "7"),
    *('"a"', '"a":', "null", "true", "NaN", "Infinity", "-Infinity", "1e999", "-0.0", "9" * 4301),
    *("\\u", "\\ud83d", "\\uDF4F", "\\\\", '\\"', "\ufeff", "\u2028", "é", "[" * 60, '{"a":' * 60),
]
almost_json = st.lists(st.sampled_from(PARTS), max_size=20).map("".join)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


@pytest.fixture(scope="session")
def strict_json() -> ModuleType:
    """The module, run from its source; imported, it would leave a file in the template."""
    module = ModuleType("strict_json")
    source = (ROOT / SOURCE).read_text(encoding="utf-8")
    exec(compile(source, SOURCE, "exec"), vars(module))  # noqa: S102 - our own
    return module


@settings(max_examples=1000, deadline=None, derandomize=True, database=None)
@given(body=st.binary() | (almost_json | almost_json.map("[{}]".format)).map(str.encode))
@example(body=b"[" * 100_000)
@example(body=b'{"a":' * 100_000)
def test_every_body_has_a_value_that_can_be_written_or_is_a_value_error(
    strict_json: ModuleType, body: bytes
) -> None:
    provider = strict_json.StrictProvider(Flask("any"))

    try:
        value = provider.loads(body)
    except ValueError as error:
        reason = strict_json._reason(error)  # noqa: SLF001 - what the client is told
        assert reason != "It cannot be read"
        assert reason.isprintable()
        return

    assert json.loads(body.decode("utf-8-sig")) == value
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(value=json_values)
def test_everything_that_is_json_is_read(strict_json: ModuleType, value: object) -> None:
    provider = strict_json.StrictProvider(Flask("any"))

    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)
        assert provider.loads(text) == provider.loads(text.encode()) == value
