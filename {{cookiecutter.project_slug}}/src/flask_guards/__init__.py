"""Guards Flask views: who may call (bearer tokens), how often (rate limits), and from where.

A guarded ``async def`` view stays async. The names in `__all__` are the public API; modules that
begin with an underscore can change at any time.

`AuthSettings` and the types of settings need pydantic, the extra `settings`. They are imported at
their first use, and are not part of `from flask_guards import *`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ._bearer import Refusal, caller, init_bearer, required_scopes, requires
from ._cors import cors, origin
from ._hosts import allowed_hosts, host_name
from ._keys import IssuerKeys, KeysUnavailableError
from ._local_issuer import LOCAL_ISSUER, LocalIssuer, token_command
from ._rate_limits import (
    Count,
    RateLimits,
    caller_or_address,
    init_rate_limits,
    is_limited,
    limit_text,
    rate_limit,
)
from ._tokens import ACCESS_TOKEN, ALGORITHMS, Caller, TokenError, TokenVerifier

if TYPE_CHECKING:
    from ._settings import AuthSettings as AuthSettings
    from ._settings import Hosts as Hosts
    from ._settings import LimitText as LimitText
    from ._settings import Origins as Origins

__version__ = "0.1.0"

_OPTIONAL = dict.fromkeys(("AuthSettings", "Hosts", "LimitText", "Origins"), "._settings")


def __getattr__(name: str) -> object:
    """Import a name that has an optional dependency, at its first use."""
    if name in _OPTIONAL:
        return getattr(import_module(_OPTIONAL[name], __name__), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


__all__ = [
    "ACCESS_TOKEN",
    "ALGORITHMS",
    "LOCAL_ISSUER",
    "Caller",
    "Count",
    "IssuerKeys",
    "KeysUnavailableError",
    "LocalIssuer",
    "RateLimits",
    "Refusal",
    "TokenError",
    "TokenVerifier",
    "allowed_hosts",
    "caller",
    "caller_or_address",
    "cors",
    "host_name",
    "init_bearer",
    "init_rate_limits",
    "is_limited",
    "limit_text",
    "origin",
    "rate_limit",
    "required_scopes",
    "requires",
    "token_command",
]
