"""Parses JSON strictly by RFC 8259, with errors that name the fault and its place.

Python's own parser accepts `NaN`, which is not JSON, and lone surrogates, which cannot be encoded
again. For a text that is nested too deeply it raises `RecursionError`, which Flask does not expect.
"""

import json
import math
import re
import sys
from codecs import BOM_UTF8
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NoReturn

from flask import Request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

# Enough levels for any data, and few enough for recursive Python code that processes the value
# later: a serialiser, a validator, `copy.deepcopy`.
MAX_DEPTH = 100

# How Flask asks for JSON outside of its debug mode.
COMPACT: dict[str, Any] = {"separators": (",", ":")}

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_CONTAINERS = (dict, list)  # `isinstance` with a union takes three times as long
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}
# A pair of surrogates, a lone one (the group), or any other escape.
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|\\u([dD][89a-fA-F][0-9a-fA-F]{2})"
    r"|\\.",
    re.DOTALL,
)


class StrictProvider(DefaultJSONProvider):
    """Flask's JSON, but strict: ``app.json = StrictProvider(app)``."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:  # noqa: ANN401 - any JSON
        """Return the value of the text `s`; bytes are UTF-8 (RFC 8259 section 8.1).

        Raises:
            ValueError: the text is not JSON, is nested more than 100 levels deep, or contains a
                number too large for Python or a lone surrogate.
        """
        if isinstance(s, str):
            text = s
        else:  # the codec for a mark is written in Python
            text = s.decode("utf-8-sig" if s.startswith(BOM_UTF8) else "utf-8")
        if "\\" in text and ("\\ud" in text or "\\uD" in text):
            _check_surrogates(text)
        try:
            value = json.loads(text, **kwargs) if kwargs else _decoder.decode(text)
            # Counting brackets is cheap, and most texts have fewer.
            if text.count("[") + text.count("{") > MAX_DEPTH:
                _check_depth(value)
        except json.JSONDecodeError:
            raise
        except RecursionError as error:
            message = f"Nested more than {MAX_DEPTH} levels deep"
            raise json.JSONDecodeError(message, text, _end_of_depth(text)) from error
        except _UnfitNumberError as error:
            raise _at(text, re.escape(error.number), str(error)) from error
        except ValueError as error:
            digits = sys.get_int_max_str_digits()
            message = f"A number of more than {digits} digits"
            raise _at(text, r"\d" * (digits + 1), message) from error
        return value

    def dumps(self, obj: Any, **kwargs: Any) -> str:  # noqa: ANN401 - any object
        """Return `obj` as JSON.

        Raises:
            ValueError: it contains NaN or an infinity, which JSON lacks (RFC 8259 section 6).
        """
        if kwargs == COMPACT:
            return _compact_encoder(self.default, self.ensure_ascii, self.sort_keys).encode(obj)
        kwargs.setdefault("allow_nan", False)
        return super().dumps(obj, **kwargs)


class StrictRequest(Request):
    """A request whose errors name the fault of its JSON, as Flask's do in debug mode only.

    To use it, set ``app.request_class = StrictRequest``.
    """

    def on_json_loading_failed(self, e: ValueError | None) -> NoReturn:
        """Refuse the request.

        Raises:
            BadRequest: the body is not JSON; `e` is the parser's error.
            UnsupportedMediaType: the content type is not JSON; `e` is None.
        """
        if e is None:
            message = "The Content-Type of the request is not application/json."
            raise UnsupportedMediaType(message)
        message = f"The body is not valid JSON: {_reason(e)}."
        raise BadRequest(message) from e


class _UnfitNumberError(ValueError):
    """A number that JSON does not allow, or that is too large for a float."""

    def __init__(self, number: str, message: str) -> None:
        super().__init__(message)
        self.number = number


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is not a number in JSON"
    raise _UnfitNumberError(name, message)


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise _UnfitNumberError(number, "A number is too large")
    return value


# `json.dumps` makes an encoder for each call, which takes longer than to write a small response.
@lru_cache
def _compact_encoder(
    default: Callable[[Any], Any],
    ensure_ascii: bool,  # noqa: FBT001 - a key of the cache
    sort_keys: bool,  # noqa: FBT001 - the same
) -> json.JSONEncoder:
    return json.JSONEncoder(
        **COMPACT, default=default, ensure_ascii=ensure_ascii, sort_keys=sort_keys, allow_nan=False
    )


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def _check_depth(value: object) -> None:
    """Raise `RecursionError` if `value` has more than `MAX_DEPTH` levels."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, _CONTAINERS)
        ]
        if not level:
            return
    raise RecursionError


def _end_of_depth(text: str) -> int:
    """Return the position of the first bracket that exceeds `MAX_DEPTH`."""
    depth = 0
    for match in _BRACKET.finditer(_without_strings(text)):
        depth += _STEPS[match[0]]
        if depth > MAX_DEPTH:
            return match.start()
    return 0


def _check_surrogates(text: str) -> None:
    for match in _ESCAPE.finditer(text):
        if match[1]:
            message = "Half of a surrogate pair"
            raise json.JSONDecodeError(message, text, match.start())


def _at(text: str, pattern: str, message: str) -> json.JSONDecodeError:
    """Return an error at the first match of `pattern` outside of the strings of `text`."""
    match = re.search(pattern, _without_strings(text))
    return json.JSONDecodeError(message, text, match.start() if match else 0)


def _without_strings(text: str) -> str:
    """Return `text` with spaces in the place of its strings; other positions are kept."""
    return _STRING.sub(lambda match: " " * len(match[0]), text)


def _reason(error: ValueError) -> str:
    """Return the fault and its position, without any part of the text itself."""
    if isinstance(error, json.JSONDecodeError):
        # Some of Python's messages end with "at", before the place.
        return f"{error.msg.removesuffix(' at')} at line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"Not UTF-8 at byte {error.start + 1}"
    return "It cannot be read"  # by another JSON provider
