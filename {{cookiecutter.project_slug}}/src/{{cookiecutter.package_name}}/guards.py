"""Limits who may call, how often and from where: tokens, rate limits, hosts and origins.

`@requires("scope")` and `@rate_limit("60/minute")` guard a view. This module can be deleted with
its line in `app.py` and the settings that it reads.
"""

from collections.abc import Awaitable, Callable

from flask import Flask
from flask_asgi import add_logged_ids, on_loop
from flask_guards import (
    AuthSettings,
    Caller,
    RateLimits,
    allowed_hosts,
    cors,
    init_rate_limits,
    required_scopes,
)
from typed_views import Problem
from upstreams import SettingsError, Upstream

from .logs import PROBES
from .parts import parts
from .settings import Settings

# For the OpenAPI document. A guarded view names them: `typed(security=..., problems=...)`.
SECURITY_SCHEMES = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
LIMITED = Problem(
    429,
    "The caller has made too many of these requests.",
    headers={"Retry-After": "Seconds until the next request is answered."},
)

KEYS_TIMEOUT_SECONDS = 2.0  # to fetch the issuer's keys, retries included
LONGEST_SUBJECT = 128  # characters, in the log


def init_app(app: Flask) -> None:
    """Guard the views of `app`, which must all be registered already.

    Raises:
        SettingsError: a view requires a token, and production has no issuer.
    """
    settings = parts(app).settings
    if settings.allowed_hosts not in {"", "*"}:
        hosts = allowed_hosts(settings.allowed_hosts.split(","), except_for=PROBES)
        app.before_request(on_loop(hosts))
    if settings.cors_origins:
        app.after_request(on_loop(cors(settings.cors_origins.split(","))))
    _init_tokens(app, settings)
    url = settings.rate_limits_redis_url
    limits = RateLimits(None if url is None else url.get_secret_value(), prefix=app.name)
    init_rate_limits(app, limits)
    parts(app).lifespan.add(lambda _: limits.open())


def _init_tokens(app: Flask, settings: Settings) -> None:
    auth = settings.auth
    requires_tokens = any(required_scopes(each) is not None for each in app.view_functions.values())
    if auth.is_local and requires_tokens and settings.environment == "production":
        message = (
            "AUTH__ISSUER must be set when ENVIRONMENT is production and a view requires a token: "
            "everybody can make tokens of the local issuer."
        )
        raise SettingsError(message)
    auth.init_app(app, None if auth.is_local else _fetcher(app, auth), found=_log_caller)


def _log_caller(caller: Caller) -> None:
    add_logged_ids(subject=caller.subject[:LONGEST_SUBJECT])


def _fetcher(app: Flask, auth: AuthSettings) -> Callable[[], Awaitable[bytes]]:
    upstream = Upstream("issuer", str(auth.jwks_url), timeout=KEYS_TIMEOUT_SECONDS)

    async def fetch() -> bytes:
        return (await upstream.get("")).content

    parts(app).lifespan.add(lambda _: upstream.open())
    return fetch
