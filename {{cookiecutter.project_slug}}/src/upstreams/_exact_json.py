"""Reads JSON with exact numbers, within limits that hold whoever sent it."""

import json
from decimal import Decimal
from typing import Any, NoReturn

# Of a number: its characters, and its places before or after the point. A few characters, such as
# `0E-400000000`, can denote a number with millions of digits.
LONGEST_NUMBER = 40

_TOO_LONG = Decimal("NaN")


def exact_json(text: str | bytes) -> Any:  # noqa: ANN401 - any value
    """Return the value of a JSON text, in which each number is the `Decimal` that is written there.

    A float would be rounded. A number with more than `LONGEST_NUMBER` characters, or with more
    places before or after its point, is `Decimal("NaN")`; checks of a value refuse that.

    Raises:
        ValueError: the text is not JSON (RFC 8259), an object has a name twice, or the text is
            nested more deeply than Python reads.
    """
    try:
        return json.loads(
            text,
            parse_float=_decimal,
            parse_int=_decimal,
            parse_constant=_refuse,
            object_pairs_hook=_object,
        )
    except RecursionError:
        message = "nested too deeply"
    raise ValueError(message)


def _decimal(text: str) -> Decimal:
    if len(text) > LONGEST_NUMBER:
        return _TOO_LONG
    try:
        number = Decimal(text)
    except ArithmeticError:  # the exponent is beyond what a decimal can have
        return _TOO_LONG
    exponent = number.as_tuple().exponent
    return number if abs(int(exponent)) <= LONGEST_NUMBER else _TOO_LONG


def _refuse(constant: str) -> NoReturn:
    message = f"{constant} is not JSON (RFC 8259 section 6)"
    raise ValueError(message)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        message = "the same name twice in an object"
        raise ValueError(message)
    return members
