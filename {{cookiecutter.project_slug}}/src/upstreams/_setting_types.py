"""Types of settings, for the fields of a pydantic model."""

from importlib.util import find_spec
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from ._host import is_host
from ._redis_url import is_redis_url

# A week: event loops cannot wait for ever, and a longer time is a typing mistake.
_LONGEST = 604_800


def _host(value: str) -> str:
    if not is_host(value):
        message = "must be an IP address or the name of a host"
        raise ValueError(message)
    return value


def _redis_url(value: SecretStr) -> SecretStr:
    if find_spec("redis") is None:
        message = "needs the package redis, which is not installed"
        raise ValueError(message)
    if not is_redis_url(value.get_secret_value()):
        message = (
            "must be like redis://:password@host:6379/0, with every sign of the password that is "
            "no letter and no digit percent-encoded: %2F for a slash"
        )
        raise ValueError(message)
    return value


Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""A whole number from 1."""

Delay = Annotated[float, Field(ge=0, le=_LONGEST, allow_inf_nan=False)]
"""Seconds, from 0 to a week."""

Host = Annotated[str, AfterValidator(_host)]
"""An IP address or the name of a host (RFC 1123 section 2.1, and underscores)."""

RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
"""The URL of a Redis, which may hold a password. It needs the package redis."""

Seconds = Annotated[float, Field(gt=0, le=_LONGEST, allow_inf_nan=False)]
"""Seconds, more than 0 and at most a week."""
