"""Recognises a typing mistake in the name of a setting."""

import re
from collections.abc import Iterable
from functools import cache


def meant_by(name: str, settings: Iterable[str]) -> str | None:
    """Return the name in `settings` that `name` equals or resembles, `None` if there is none.

    A name resembles a setting's with one typing mistake, with an underscore too many or too few, or
    without the unit. `DB_PORT`, `PORT2` and `MAX_CONNECTIONS` are different names.
    """
    joined = name.replace("_", "")
    for setting in settings:
        if joined in _joined(setting) or _is_slip(name, setting):
            return setting
    return None


@cache
def _joined(setting: str) -> tuple[str, str]:
    """Return the name without underscores, and the same without its unit."""
    without_unit = re.sub("_(seconds|ms|bytes)$", "", setting)
    return setting.replace("_", ""), without_unit.replace("_", "")


def _is_slip(name: str, setting: str) -> bool:
    """Tell whether the names differ by a missing, added, wrong or misplaced letter."""
    if abs(len(name) - len(setting)) > 1:
        return False
    letters_apart = re.sub("[a-z]", "", name) == re.sub("[a-z]", "", setting)
    return letters_apart and not _shortened(name).isdisjoint(_shortened(setting))


def _shortened(name: str) -> set[str]:
    """Return `name`, and `name` without each of its letters."""
    return {name, *(name[:place] + name[place + 1 :] for place in range(len(name)))}
