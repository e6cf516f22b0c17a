"""The environment variables of a model of settings: their names, slips in them, and an example."""

import re
import textwrap
from collections.abc import Iterable, Mapping
from functools import cache

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_HEADER = f"""\
# Every setting with its default. Copy this file to .env and change what you need; variables of the
# environment go before it. A wrong value stops the start, and so does a name that looks like a slip
# for that of a setting; names of other programs, such as Compose's, may be here too.
#
# Written anew by: uv run python -m {__package__}.settings > .env.example

"""

# Between the name of a group of settings and that of a setting: ORDERS__BASE_URL.
NESTED = "__"


@cache
def variables(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the settings of `model` by the lower-cased names of their variables."""
    found: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        if group := group_of(field):
            fields = group.model_fields.items()
            found |= {f"{name}{NESTED}{inner}": each for inner, each in fields}
        else:
            found[name] = field
    return found


def group_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a field that is a group of settings, `None` for a single one."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def meant_by(name: str, settings: Iterable[str]) -> str | None:
    """Return the one of `settings` that `name` is or looks like, `None` where it is like none.

    It looks like one with one slip of the keyboard, with an underscore too many or too few, or
    without its unit. `DB_PORT`, `PORT2` and `MAX_CONNECTIONS` are names of their own.
    """
    joined = name.replace("_", "")
    for setting in settings:
        if joined in _joined(setting) or _is_slip(name, setting):
            return setting
    return None


def misnamed(environment: Mapping[str, str], model: type[BaseModel]) -> dict[str, str]:
    """Return what `environment` holds under names that look like those of settings in a group.

    `ORDERS_BASE_URL` for `ORDERS__BASE_URL` would send production nowhere. These names are too long
    to be another program's; one that looks like `PORT` may well be.
    """
    known = variables(model)
    nested = [name for name in known if NESTED in name]
    given = {name.lower(): value for name, value in environment.items() if value}
    return {
        name: value
        for name, value in given.items()
        if name not in known
        and name.partition(NESTED)[0] not in model.model_fields
        and meant_by(name, nested)
    }


@cache
def _joined(setting: str) -> tuple[str, str]:
    """Return the name without underscores, and without its unit too."""
    without_unit = re.sub("_(seconds|ms|bytes)$", "", setting)
    return setting.replace("_", ""), without_unit.replace("_", "")


def _is_slip(name: str, setting: str) -> bool:
    """Tell whether a letter is missing, added, another or at another place."""
    if abs(len(name) - len(setting)) > 1:
        return False
    letters_apart = re.sub("[a-z]", "", name) == re.sub("[a-z]", "", setting)
    return letters_apart and not _shortened(name).isdisjoint(_shortened(setting))


def _shortened(name: str) -> set[str]:
    """Return `name`, and all that is left of it without one of its letters."""
    return {name, *(name[:place] + name[place + 1 :] for place in range(len(name)))}


def example(model: BaseModel) -> str:
    """Return the text of an `.env` that sets nothing: each setting with its value in `model`."""
    paragraphs = [_HEADER]
    for name, field in variables(type(model)).items():
        value: object = model
        for part in name.split(NESTED):
            value = getattr(value, part)
        about = str(field.description)
        paragraphs.append(_comment(f"{about[0].upper()}{about[1:]}."))
        paragraphs.append(f"# {name.upper()}={_written(value)}\n\n")
    return "".join(paragraphs).rstrip("\n") + "\n"


def _comment(text: str) -> str:
    lines = textwrap.wrap(text, width=98, break_on_hyphens=False, break_long_words=False)
    return "".join(f"# {line}\n" for line in lines)


def _written(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
