"""Accepted and refused JSON: the error names the place, and no JSON causes a 500."""

import json
import math
import os
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask, jsonify, request
from flask.json.provider import DefaultJSONProvider
from flask.testing import FlaskClient
from flask_asgi import StrictProvider, StrictRequest
from flask_asgi._strict_json import MAX_DEPTH, _reason
from hypothesis import example, given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException

TOO_DEEP = f"Nested more than {MAX_DEPTH} levels deep at line 1, column"

REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "Expecting value at line 1, column 1"),
    "cut off": (b'{"a": [1,\n 2', "Expecting ',' delimiter at line 2, column 3"),
    "no name": (b"{,}", "Expecting property name enclosed in double quotes at line 1, column 2"),
    "two values": (b"1\n2", "Extra data at line 2, column 1"),
    "control character": (b'"\n"', "Invalid control character at line 1, column 2"),
    "deep lists": (2500 * b"[" + 2500 * b"]", f"{TOO_DEEP} 101"),
    "deep objects": (2500 * b'{"a":' + b"1" + 2500 * b"}", f"{TOO_DEEP} 501"),
    "deep, with brackets in texts": (
        b'["]]]]\\"]]]",' + 101 * b"[" + 102 * b"]",
        f"{TOO_DEEP} 113",
    ),
    "digits": (5000 * b"1" + b"]", "A number of more than 4300 digits at line 1, column 1"),
    "NaN": (b'{"NaN": NaN}', "NaN is not a number in JSON at line 1, column 9"),
    "infinity": (b"[1,\n Infinity]", "Infinity is not a number in JSON at line 2, column 2"),
    "minus infinity": (b"-Infinity", "-Infinity is not a number in JSON at line 1, column 1"),
    "large": (b"[1e400]", "A number is too large at line 1, column 2"),
    "large with a point": (b"[-1.5E+400]", "A number is too large at line 1, column 2"),
    "half a surrogate pair": (b'"a\\ud83d"', "Half of a surrogate pair at line 1, column 3"),
    "the other half": (b'"\\uDE00"', "Half of a surrogate pair at line 1, column 2"),
    "turned pair": (b'"\\ude00\\ud83d"', "Half of a surrogate pair at line 1, column 2"),
    "surrogate in a name": (b'{"\\uD83D": 1}', "Half of a surrogate pair at line 1, column 3"),
    "surrogate as bytes": (b'"\xed\xa0\xbd"', "Not UTF-8 at byte 2"),
    "latin-1": (b'"caf\xe9"', "Not UTF-8 at byte 5"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "Not UTF-8 at byte 1"),
    "UTF-16 without a byte order mark": ('"é"'.encode("utf-16-le"), "Not UTF-8 at byte 3"),
    "UTF-32": ("[1]".encode("utf-32-be"), "Expecting value at line 1, column 1"),
}  # fmt: skip

ACCEPTED: dict[str, tuple[bytes, Any]] = {
    "a byte order mark": (b"\xef\xbb\xbf[1]", [1]),
    "many brackets": (b"[" + b",".join(1000 * [b"[[]]"]) + b"]", 1000 * [[[]]]),
    "brackets in a text": (b'"' + 1000 * b"[" + b'\\"{"', 1000 * "[" + '"{'),
    "a surrogate pair": (b'"\\ud83c\\udf4f"', "\N{GREEN APPLE}"),
    "a backslash before ud": (b'"\\\\ud83d"', "\\ud83d"),
    "a small number": (b"1e-400", 0.0),
    "the largest number": (b"1.7976931348623157e308", 1.7976931348623157e308),
    "the most digits": (4300 * b"1", int(4300 * "1")),
    "a name twice": (b'{"a": 1, "a": 2}', {"a": 2}),
}  # fmt: skip

EXAMPLES = int(os.environ.get("EXAMPLES", "150"))  # of each property


@pytest.fixture
def app() -> Flask:
    app = Flask("strict")
    app.json, app.request_class = StrictProvider(app), StrictRequest

    @app.errorhandler(HTTPException)
    def say(error: HTTPException) -> tuple[str, int]:
        return str(error.description), error.code or 500

    return app


@pytest.fixture
def echo(app: Flask) -> FlaskClient:
    """Return a client of the application with a view that answers with the JSON that it got."""

    @app.post("/echo")
    async def echo() -> Any:
        return jsonify(request.get_json())

    @app.post("/silent")
    async def silent() -> Any:
        return jsonify(request.get_json(silent=True))

    return app.test_client()


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("debug", [True, False])
def test_invalid_json_is_refused_and_the_answer_says_where(
    app: Flask, echo: FlaskClient, name: str, *, debug: bool
) -> None:
    body, reason = REFUSED[name]
    app.debug = debug

    response = echo.post("/echo", data=body, content_type="application/json")

    assert response.status_code == 400
    assert response.text == f"The body is not valid JSON: {reason}."


@pytest.mark.parametrize("name", REFUSED)
def test_get_json_with_silent_gives_none_for_invalid_json(echo: FlaskClient, name: str) -> None:
    response = echo.post("/silent", data=REFUSED[name][0], content_type="application/json")

    assert (response.status_code, response.get_json()) == (200, None)


@pytest.mark.parametrize("name", ACCEPTED)
def test_valid_json_is_read_and_can_be_written_again(echo: FlaskClient, name: str) -> None:
    body, value = ACCEPTED[name]

    response = echo.post("/echo", data=body, content_type="application/json")

    assert (response.status_code, response.get_json()) == (200, value)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("levels", [1, 50, 99, 100, 101, 333, 900, 995, 1000, 5000, 100_000])
def test_no_depth_of_nesting_causes_a_500(
    echo: FlaskClient, opening: bytes, closing: bytes, levels: int
) -> None:
    body = levels * opening + b"1" + levels * closing

    response = echo.post("/echo", data=body, content_type="application/json")

    assert response.status_code == (200 if levels <= MAX_DEPTH else 400)


def test_another_content_type_is_answered_415_with_the_accepted_type(echo: FlaskClient) -> None:
    response = echo.post("/echo", data=b"{}", content_type="text/plain")

    assert response.status_code == 415
    assert "application/json" in response.text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [{"a": math.nan}]])
def test_a_response_with_nan_or_infinity_is_an_error(app: Flask, value: object) -> None:
    app.add_url_rule("/value", "value", lambda: jsonify(value))

    response = app.test_client().get("/value")

    assert response.status_code == 500


def test_an_overridden_parser_is_used(app: Flask, echo: FlaskClient) -> None:
    class Other(type(app.json)):  # type: ignore[misc] # the class is found at run time
        def loads(self, s: str | bytes, **kwargs: Any) -> Any:
            if s == b"wrong":
                message = "s3cret"
                raise ValueError(message)
            return json.loads(s, **kwargs)

    app.json = Other(app)

    response = echo.post("/echo", data=b"wrong", content_type="application/json")

    assert response.status_code == 400
    assert response.text == "The body is not valid JSON: It cannot be read."


# Any body that a client may send

# Parts of JSON, and parts that are nearly JSON, for texts that are almost JSON.
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
    max_leaves=10,
)


@settings(max_examples=EXAMPLES)
@given(body=st.binary() | (almost_json | almost_json.map("[{}]".format)).map(str.encode))
@example(body=b"[" * 100_000)
@example(body=b'{"a":' * 100_000)
def test_every_body_gives_a_writable_value_or_a_value_error(
    body: bytes,
) -> None:
    provider = StrictProvider(Flask("any"))

    try:
        value = provider.loads(body)
    except ValueError as error:
        reason = _reason(error)  # sent to the client
        assert reason != "It cannot be read"
        assert reason.isprintable()
        return

    assert json.loads(body.decode("utf-8-sig")) == value
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


@settings(max_examples=EXAMPLES)
@given(value=json_values)
def test_all_valid_json_is_read(value: object) -> None:
    provider = StrictProvider(Flask("any"))

    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)
        assert provider.loads(text) == provider.loads(text.encode()) == value


@pytest.mark.parametrize("compact", [True, False])
def test_the_settings_of_an_application_hold_from_when_they_are_set(*, compact: bool) -> None:
    strict, plain = StrictProvider(Flask("any")), DefaultJSONProvider(Flask("any"))
    asked: dict[str, Any] = {"separators": (",", ":")} if compact else {}
    value = {"é": "ü", "a": Decimal("1.50"), "b": [1.5, {"c": 1, "b": None}]}

    assert strict.dumps(value, **asked) == plain.dumps(value, **asked)
    for name, setting in {"sort_keys": False, "ensure_ascii": False, "default": repr}.items():
        for provider in (strict, plain):
            setattr(provider, name, setting)
        assert strict.dumps(value, **asked) == plain.dumps(value, **asked)
    with pytest.raises(ValueError, match="not JSON compliant"):
        strict.dumps(float("nan"), **asked)
