"""The faults of a request, each with its place, and the error that carries them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Required, TypedDict, cast
from urllib.parse import quote

from pydantic import ValidationError
from werkzeug.exceptions import UnprocessableEntity

# The type of the problem that describes an `InvalidRequest` (RFC 9457 section 3.1.1).
INVALID_REQUEST = "urn:problem-type:invalid-request"

# In a response. Further faults are only counted: a body of 1 MB can have 250,000 of them.
MOST_FAULTS = 100

# Characters of one fault. Its pointer has names that a client chooses.
_LONGEST_DETAIL = 300
LONGEST_PLACE = 300

# Allowed in a URI fragment, besides letters, digits and `_.-~` (RFC 3986 section 3.5).
_SAFE = "!$&'()*+,;=:@?"

Location = tuple[int | str, ...]


class Fault(TypedDict, total=False):
    """One fault of a request, with one of the three places.

    The names for a fault in a body are those of the example in RFC 9457 section 3. The others are
    those of SmartBear's registry of problems.
    """

    detail: Required[str]
    pointer: str  # into the body: a JSON pointer as a URI fragment (RFC 6901 section 6)
    parameter: str  # of the query or the path
    header: str


class InvalidRequest(UnprocessableEntity):
    """A request that does not match the types that its view declares.

    Attributes:
        errors: the faults.
        kind: the type of the problem that describes it.
    """

    kind = INVALID_REQUEST

    def __init__(self, errors: Sequence[Fault]) -> None:
        self.errors = errors
        first = errors[0]
        place = first.get("pointer") or first.get("parameter") or first.get("header")
        more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"The request is invalid: {place}: {first['detail']}{more}")


def faults(
    error: ValidationError, locate: Callable[[Location, bool], dict[str, str]]
) -> list[Fault]:
    """Return the faults that pydantic found.

    `locate` gets the location of a fault, and whether a value is missing there. It returns the
    member of `Fault` for that place.
    """
    if error.error_count() > MOST_FAULTS:
        # pydantic takes 6 us to describe a fault.
        return [_fault(locate((), False), f"{error.error_count()} faults")]  # noqa: FBT003
    return [
        _fault(locate(each["loc"], each["type"] == "missing"), each["msg"])
        for each in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def pointer(location: Location, data: object, *, missing: bool) -> str:
    """Return the JSON pointer, as a URI fragment, to a `location` of pydantic's in `data`.

    Labels of the members of a union are left out: they are in pydantic's locations, and not in the
    data. A pointer that would be too long ends at an enclosing object or array.

    >>> pointer(("items", "Card", 0, "a/b"), {"items": [{}]}, missing=True)
    '#/items/0/a~1b'
    """
    found = "#"
    for place, token in enumerate(location):
        if _has(data, token):
            data = data[token]  # type: ignore[index] # a dict or a list
        elif not (missing and place == len(location) - 1):
            continue
        escaped = str(token).replace("~", "~0").replace("/", "~1")
        longer = f"{found}/{quote(escaped, safe=_SAFE)}"
        if len(longer) > LONGEST_PLACE:
            break
        found = longer
    return found


def _fault(place: dict[str, str], detail: str) -> Fault:
    text = detail.removeprefix("Value error, ")
    return cast("Fault", place | {"detail": text[:_LONGEST_DETAIL]})


def _has(data: object, token: int | str) -> bool:
    if isinstance(data, Mapping):
        return token in data
    return isinstance(data, list) and isinstance(token, int) and token < len(data)
