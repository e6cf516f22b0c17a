"""Guards Flask views: who may call (bearer tokens), and how often (rate limits).

A guarded ``async def`` view stays one. The names in `__all__` are the public API; modules that
begin with an underscore can change at any time.
"""

from ._bearer import Refusal, caller, init_bearer, required_scopes, requires
from ._keys import IssuerKeys, KeysUnavailableError
from ._local_issuer import LOCAL_ISSUER, LocalIssuer
from ._rate_limits import (
    Count,
    RateLimits,
    caller_or_address,
    init_rate_limits,
    is_limited,
    rate_limit,
)
from ._tokens import ACCESS_TOKEN, ALGORITHMS, Caller, TokenError, TokenVerifier

__version__ = "0.1.0"

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
    "caller",
    "caller_or_address",
    "init_bearer",
    "init_rate_limits",
    "is_limited",
    "rate_limit",
    "required_scopes",
    "requires",
]
