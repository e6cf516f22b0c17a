"""Types of settings, for the fields of a pydantic model."""

from typing import Annotated

from pydantic import AfterValidator, Field

from ._host import is_host

# A week: event loops cannot wait for ever, and a longer wait is a slip of the keyboard.
_LONGEST = 604_800


def _host(value: str) -> str:
    if not is_host(value):
        message = "must be an IP address or the name of a host"
        raise ValueError(message)
    return value


Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""A whole number from 1."""

Delay = Annotated[float, Field(ge=0, le=_LONGEST, allow_inf_nan=False)]
"""Seconds, from 0 to a week."""

Host = Annotated[str, AfterValidator(_host)]
"""An IP address or the name of a host (RFC 1123 section 2.1, and underscores)."""

Seconds = Annotated[float, Field(gt=0, le=_LONGEST, allow_inf_nan=False)]
"""Seconds, more than 0 and at most a week."""
