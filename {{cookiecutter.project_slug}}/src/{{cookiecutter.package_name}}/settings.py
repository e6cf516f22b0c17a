"""Every setting of the service: typed, read from the environment and `.env`, checked at start."""

import sys
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from flask_asgi import ServerSettings
# jinja: if cookiecutter.include_example
from flask_guards import AuthSettings, Hosts, LimitText, Origins
# jinja: else
from flask_guards import AuthSettings, Hosts, Origins
# jinja: endif
from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
# jinja: if cookiecutter.include_example
from upstreams import Count, RedisUrl, Seconds, ServiceSettings, UpstreamSettings

# jinja: else
from upstreams import RedisUrl, ServiceSettings

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
class Settings(ServerSettings, ServiceSettings):
    """The settings, by the lower-cased names of their environment variables.

    Those of the server, such as PORT and WORKER_THREADS, are in `flask_asgi.ServerSettings`. To
    change a default, write the whole field again here. The upstreams are groups:
    `ORDERS__BASE_URL` is `orders.base_url`.
    """

    environment: Literal["development", "production"] = Field(
        default="development",
        description="the kind of process: development, or production, which refuses DEBUG",
    )
    debug: bool = Field(
        default=False, description="whether errors show their cause to the client; development only"
    )
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
    # jinja: if cookiecutter.include_example
    quotes_limit: LimitText = Field(
        default="60/minute",
        description="how often a caller may ask for a quote, such as 60/minute or 1000/2hours",
    )
    # jinja: endif
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
    auth: AuthSettings = AuthSettings()
    rate_limits_redis_url: RedisUrl | None = Field(
        default=None,
        description="the Redis that keeps the counts of rate limits, like "
        "redis://127.0.0.1:6379/0; without it each worker counts separately; needs the extra "
        "`redis`",
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
