"""Reads JSON from clients as RFC 8259 has it, and says what is wrong with it, and where.

Python's own parser takes what is no JSON (`NaN`) and what cannot be written again (a lone
surrogate), and fails with another error than `ValueError` on what is nested too deep for it.
"""

import json
import math
import re
import sys
from typing import Any, NoReturn

from flask import Request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

# Deep enough for any data. Few enough for everything that walks through the value later, in Python
# and one call per level: a serialiser, a validator, `copy.deepcopy`.
MAX_DEPTH = 100

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_CONTAINERS = (dict, list)  # a union of them would take three times as long to check
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}
# A pair of surrogates, a lone one (the group), or any other escape.
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|\\u([dD][89a-fA-F][0-9a-fA-F]{2})"
    r"|\\.",
    re.DOTALL,
)


class StrictProvider(DefaultJSONProvider):
    """Flask's own JSON, without what is not JSON."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:  # noqa: ANN401 - any JSON
        """Return the value of the text `s`; bytes are UTF-8 (RFC 8259 section 8.1).

        Raises:
            ValueError: it is no JSON, is nested more than `MAX_DEPTH` levels deep, or has a number
                or a text that Python cannot hold or write again.
        """
        text = s if isinstance(s, str) else s.decode("utf-8-sig")
        if "\\ud" in text or "\\uD" in text:
            _check_surrogates(text)
        try:
            value = json.loads(text, **kwargs) if kwargs else _decoder.decode(text)
            # To count brackets is cheap, and most texts have fewer.
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
        """Return `obj` as JSON, which has no NaN and no infinity (RFC 8259 section 6).

        Raises:
            ValueError: there is one in it.
        """
        kwargs.setdefault("allow_nan", False)
        return super().dumps(obj, **kwargs)


class StrictRequest(Request):
    """A request that says what is wrong with its JSON; Flask's own says so in debug mode only."""

    def on_json_loading_failed(self, e: ValueError | None) -> NoReturn:
        """Refuse the body with 400, or its content type with 415 where `e` is `None`."""
        if e is None:
            message = "The Content-Type of the request is not application/json."
            raise UnsupportedMediaType(message)
        message = f"The body is not valid JSON: {_reason(e)}."
        raise BadRequest(message) from e


class _UnfitNumberError(ValueError):
    """A number that is no JSON, or that a float cannot hold."""

    def __init__(self, number: str, message: str) -> None:
        super().__init__(message)
        self.number = number


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is no number in JSON"
    raise _UnfitNumberError(name, message)


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise _UnfitNumberError(number, "A number is too large")
    return value


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def _check_depth(value: object) -> None:
    """Raise `RecursionError` where `value` is deeper than it may be."""
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
    """Return where the first bracket is that opens a level too many."""
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
    """Return the error of what matches `pattern` outside of the strings of `text`."""
    match = re.search(pattern, _without_strings(text))
    return json.JSONDecodeError(message, text, match.start() if match else 0)


def _without_strings(text: str) -> str:
    """Return `text` with every string blanked, and everything else where it was."""
    return _STRING.sub(lambda match: " " * len(match[0]), text)


def _reason(error: ValueError) -> str:
    """Return what is wrong, and where, and nothing of the text itself."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"Not UTF-8 at byte {error.start + 1}"
    return "It cannot be read"  # by a parser that somebody put in the place of this one
