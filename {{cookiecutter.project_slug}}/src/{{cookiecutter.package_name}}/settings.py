"""Every setting of the service: typed, read from the environment and `.env`, checked at start."""

import sys
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from flask_asgi import Networks
# jinja: if cookiecutter.include_example
from flask_guards import AuthSettings, Hosts, LimitText, Origins
# jinja: else
from flask_guards import AuthSettings, Hosts, Origins
# jinja: endif
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
# jinja: if cookiecutter.include_example
from upstreams import Count, Delay, Host, RedisUrl, Seconds, ServiceSettings, UpstreamSettings

# jinja: else
from upstreams import Count, Delay, Host, RedisUrl, Seconds, ServiceSettings

# jinja: endif
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LogFormat = Literal["json", "text"]

# Whether views use `flask.session`. If so, production needs SECRET_KEY; development uses this key.
USES_SESSIONS: bool = False
_DEVELOPMENT_KEY = SecretStr("everybody knows this key, so it is for development alone")


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _log_format(values: dict[str, Any]) -> LogFormat:
    return "json" if values.get("environment") == "production" else "text"


def _api_docs(values: dict[str, Any]) -> bool:
    return values.get("environment") == "development" and find_spec("flask_swagger_ui") is not None


def _addresses(value: str) -> str:
    # uvicorn would take any other text for a name, which matches no client.
    Networks(value)
    return value


# jinja: if cookiecutter.include_example
class PricesSettings(UpstreamSettings):
    """The settings of the price upstream: those of every upstream, and those of its view."""

    deadline_seconds: Seconds = Field(
        default=3.0, description="how long all calls of one request may take, in seconds"
    )
    max_concurrency: Count = Field(
        default=10, description="how many calls of one request may run at once"
    )


# jinja: endif
class Settings(ServiceSettings):
    """The settings, by the lower-cased names of their environment variables.

    The upstreams are groups: `ORDERS__BASE_URL` is `orders.base_url`.
    """

    environment: Literal["development", "production"] = Field(
        default="development",
        description="the kind of process: development, or production, which refuses DEBUG",
    )
    debug: bool = Field(
        default=False, description="whether errors show their cause to the client; development only"
    )
    host: Host = Field(
        default="127.0.0.1", description="the address to listen on; a container needs 0.0.0.0"
    )
    port: int = Field(default=8000, ge=0, le=65535, description="the TCP port to listen on")
    metrics_host: Host = Field(
        default="127.0.0.1",
        description="the address to serve /metrics on; a container needs 0.0.0.0",
    )
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="the TCP port to serve /metrics on, which must not be public; 0 switches "
        "metrics off",
    )
    web_concurrency: Count = Field(default=1, description="the number of worker processes")
    log_level: Annotated[LogLevel, BeforeValidator(_upper)] = Field(
        default="INFO",
        description="the lowest level that is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL",
    )
    log_format: LogFormat = Field(
        default_factory=_log_format,
        description="the format of log lines, json or text; by default json in production and text "
        "in development",
    )
    api_docs: bool = Field(
        default_factory=_api_docs,
        description="whether /openapi.json and the page at /docs are served, which needs the extra "
        "`docs`; by default true in development and false in production",
    )
    max_content_length: Count = Field(
        default=1024 * 1024, description="the largest request body that is accepted, in bytes"
    )
    allowed_hosts: Hosts = Field(
        default="",
        validate_default=True,
        description="the hosts that requests may name, separated by commas, such as "
        "api.example.com, or .example.com with all names below it; * for all; required in "
        "production",
    )
    cors_origins: Origins = Field(
        default="",
        description="the origins whose scripts may read responses, separated by commas, such as "
        "https://app.example.com; * for all; none by default",
    )
    secret_key: SecretStr | None = Field(
        default=None,
        validate_default=True,
        description="the key that signs session cookies, at least 32 characters; needed only if a "
        "view uses `flask.session`",
    )
    auth: AuthSettings = AuthSettings()
    rate_limits_redis_url: RedisUrl | None = Field(
        default=None,
        description="the Redis that keeps the counts of rate limits, like "
        "redis://127.0.0.1:6379/0; without it each worker counts separately; needs the extra "
        "`redis`",
    )
    # jinja: if cookiecutter.include_example
    quotes_limit: LimitText = Field(
        default="60/minute",
        description="how often a caller may ask for a quote, such as 60/minute or 1000/2hours",
    )
    # jinja: endif
    worker_threads: Count = Field(
        default=100, description="how many requests may run at once in views that are not async"
    )
    max_waiting: Count = Field(
        default=1000,
        description="how many of these requests may wait for a thread; further ones are answered "
        "503",
    )
    max_in_flight: Count = Field(
        default=10_000,
        description="how many requests may be in flight; further ones are answered 503, except "
        "health checks",
    )
    request_timeout_seconds: Seconds = Field(
        default=60,
        description="how long a request's body of at most 64 KiB may take to arrive (408), and "
        "after that an async view to begin its response (504), in seconds; a stream may last "
        "longer",
    )
    # Upstreams are a line each: `orders: UpstreamSettings = UpstreamSettings()`.
    # jinja: if cookiecutter.include_example
    prices: PricesSettings = PricesSettings()
    stub_delay_ms: float = Field(
        default=50,
        ge=0,
        allow_inf_nan=False,
        description="how long the stub takes to answer, in milliseconds",
    )
    # jinja: endif
    shutdown_delay_seconds: Delay = Field(
        default=0,
        description="how long /readyz answers 503 before the socket closes, in seconds: the time "
        "that a load balancer needs to notice",
    )
    shutdown_grace_seconds: Seconds = Field(
        default=30, description="how long a stop waits for requests in flight, in seconds"
    )
    keep_alive_seconds: Count = Field(
        default=75,
        description="how long an idle connection stays open, in whole seconds; longer than the "
        "load balancer's own limit",
    )
    forwarded_allow_ips: Annotated[str, AfterValidator(_addresses)] = Field(
        default="127.0.0.1",
        description="the addresses or networks of proxies whose X-Forwarded headers are trusted, "
        "separated by commas; * for all",
    )
    deadline_allow_ips: Annotated[str, AfterValidator(_addresses)] = Field(
        default="",
        description="the addresses or networks of callers whose X-Envoy-Expected-Rq-Timeout-Ms is "
        "trusted, separated by commas; * for all; none by default",
    )

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts_in_production(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.data.get("environment") == "production":
            message = "must be set when ENVIRONMENT is production"
            raise ValueError(message)
        return value

    @field_validator("secret_key")
    @classmethod
    def _nobody_guesses_the_key(
        cls, value: SecretStr | None, info: ValidationInfo
    ) -> SecretStr | None:
        if value is None and USES_SESSIONS:
            if info.data.get("environment") == "production":
                message = "must be set when ENVIRONMENT is production"
                raise ValueError(message)
            return _DEVELOPMENT_KEY
        if value is not None and len(value) < 32:  # noqa: PLR2004 - as the description says
            message = "must have at least 32 characters"
            raise ValueError(message)
        return value

    @field_validator("metrics_port")
    @classmethod
    def _not_the_public_port(cls, value: int, info: ValidationInfo) -> int:
        if value and value == info.data.get("port"):
            message = "must not be that of PORT, where everybody could read the metrics"
            raise ValueError(message)
        return value

    @field_validator("api_docs")
    @classmethod
    def _has_the_extra(cls, value: bool) -> bool:  # noqa: FBT001 - pydantic calls it
        if value and find_spec("flask_swagger_ui") is None:
            message = "needs the package flask-swagger-ui: the extra `docs`"
            raise ValueError(message)
        return value

    @field_validator("debug")
    @classmethod
    def _no_debug_in_production(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic calls it
        if value and info.data.get("environment") == "production":
            message = "must be false when ENVIRONMENT is production"
            raise ValueError(message)
        return value


def load_settings(**overrides: object) -> Settings:
    """Return the settings of the environment and `.env`; `overrides` replace both.

    Raises `SettingsError` with one sentence for each wrong variable.
    """
    return Settings.load(**overrides)


if __name__ == "__main__":
    sys.stdout.write(Settings.env_example(f"uv run python -m {__package__}.settings"))
