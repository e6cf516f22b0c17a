"""Calls other services at once, within a deadline, and survives their faults."""

from ._certificates import mistakes as certificate_mistakes
from ._deadline import (
    BUDGET_HEADER,
    DeadlineExceeded,
    Limit,
    begin_request,
    lift_deadline,
    within,
)
from ._errors import (
    UpstreamBusy,
    UpstreamError,
    UpstreamInvalid,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from ._failures import warn
from ._fan_out import Arrived, Call, Calls, Failed, FanOut, fan_out
from ._pool import OpenCache, Transport
from ._redis_url import is_redis_url
from ._retries import LONGEST_WAIT
from ._upstream import PassOn, Upstream

__all__ = [
    "BUDGET_HEADER",
    "LONGEST_WAIT",
    "Arrived",
    "Call",
    "Calls",
    "DeadlineExceeded",
    "Failed",
    "FanOut",
    "Limit",
    "OpenCache",
    "PassOn",
    "Transport",
    "Upstream",
    "UpstreamBusy",
    "UpstreamError",
    "UpstreamInvalid",
    "UpstreamRejected",
    "UpstreamTimeout",
    "UpstreamUnavailable",
    "begin_request",
    "certificate_mistakes",
    "fan_out",
    "is_redis_url",
    "lift_deadline",
    "warn",
    "within",
]
__version__ = "0.1.0"
