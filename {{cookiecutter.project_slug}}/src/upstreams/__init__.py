"""Calls to other services: concurrent, within a deadline, with retries and typed errors.

`open_cache` needs hishel, anysqlite and redis, `ServiceSettings` and `SettingsError` need
pydantic-settings, `UpstreamSettings` and the types of settings need pydantic, `UpstreamMetrics`
needs prometheus-client and `attempt_spans` OpenTelemetry. They are imported at their first use, and
are not part of `from upstreams import *`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ._certificates import certificate_mistakes
from ._deadline import (
    BUDGET_HEADER,
    Deadline,
    DeadlineExceeded,
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
from ._exact_json import exact_json
from ._failures import log_failure
from ._fan_out import Arrived, Call, Calls, Failed, FanOut, fan_out
from ._observer import ERRORS, METHODS, Attempt, Observer, Trace
from ._open_all import open_all
from ._options import GetOptions, RequestOptions
from ._pool import OpenCache, Transport
from ._redis_url import is_redis_url
from ._retries import LONGEST_WAIT
from ._upstream import PassOn, Upstream

if TYPE_CHECKING:
    from ._cache import open_cache as open_cache
    from ._service_settings import ServiceSettings as ServiceSettings
    from ._service_settings import SettingsError as SettingsError
    from ._setting_types import Count as Count
    from ._setting_types import Delay as Delay
    from ._setting_types import Host as Host
    from ._setting_types import RedisUrl as RedisUrl
    from ._setting_types import Seconds as Seconds
    from ._settings import UpstreamSettings as UpstreamSettings
    from ._spans import attempt_spans as attempt_spans
    from ._upstream_metrics import UpstreamMetrics as UpstreamMetrics

__all__ = [
    "BUDGET_HEADER",
    "ERRORS",
    "LONGEST_WAIT",
    "METHODS",
    "Arrived",
    "Attempt",
    "Call",
    "Calls",
    "Deadline",
    "DeadlineExceeded",
    "Failed",
    "FanOut",
    "GetOptions",
    "Observer",
    "OpenCache",
    "PassOn",
    "RequestOptions",
    "Trace",
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
    "exact_json",
    "fan_out",
    "is_redis_url",
    "lift_deadline",
    "log_failure",
    "open_all",
    "within",
]
__version__ = "0.1.0"


_OPTIONAL = {
    "Count": "._setting_types",
    "Delay": "._setting_types",
    "Host": "._setting_types",
    "RedisUrl": "._setting_types",
    "Seconds": "._setting_types",
    "ServiceSettings": "._service_settings",
    "SettingsError": "._service_settings",
    "UpstreamMetrics": "._upstream_metrics",
    "UpstreamSettings": "._settings",
    "attempt_spans": "._spans",
    "open_cache": "._cache",
}


def __getattr__(name: str) -> object:
    """Import a name that has an optional dependency, at its first use."""
    if name in _OPTIONAL:
        return getattr(import_module(_OPTIONAL[name], __name__), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
