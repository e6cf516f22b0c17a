"""Describes the mistake in a setting, in one sentence without the setting's value."""

import re

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from ._slips import meant_by
from ._variables import NESTED, variables


def sentence(mistake: ErrorDetails, model: type[BaseModel]) -> str:
    """Return the sentence for a mistake in the settings of `model`."""
    known = variables(model)
    place = [str(part) for part in mistake["loc"]]
    wrong = _wrong(mistake)
    if not place:  # a validator of the whole model found it
        return f"{wrong[:1].upper()}{wrong[1:]}."
    name = NESTED.join(place)
    if mistake["type"] == "extra_forbidden":
        meant = meant_by(name, known)
        hint = f"; did you mean {meant.upper()}?" if meant else "."
        return f"{name.upper()} is not a setting of this service{hint}"
    parts = [each.upper() for each in known if each.startswith(name + NESTED)]
    if parts and mistake["type"] in {"model_type", "missing"}:
        return f"{name.upper()} must be set by its parts, such as {parts[0]}."
    if name not in known and not parts:  # an item of a list
        name = NESTED.join(place[:2]) if NESTED.join(place[:2]) in known else place[0]
    about = known[name].description if name in known else None
    return f"{name.upper()} {wrong} ({about})." if about else f"{name.upper()} {wrong}."


def _wrong(mistake: ErrorDetails) -> str:
    if mistake["type"] == "missing":
        return "must be set"
    # pydantic's sentences begin with the fault ("Input should be"), ours with the setting's name.
    text = re.sub(r"^(Value error|Assertion failed), ", "", mistake["msg"])
    return re.sub(r"^\w+ (?=should )", "", text).rstrip(".")
