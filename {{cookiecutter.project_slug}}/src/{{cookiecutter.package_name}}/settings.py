"""Every setting of the service: typed, read from the environment and `.env`, checked at start."""

import ipaddress
import itertools
import re
# jinja: if cookiecutter.include_example
import urllib.parse
# jinja: endif
# jinja: if cookiecutter.include_example
from importlib.util import find_spec
# jinja: endif
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
# jinja: if cookiecutter.include_example
from pydantic.networks import HttpUrl
from pydantic.types import SecretStr
# jinja: endif
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict
from upstreams import certificate_mistakes

from .deadline import Callers

# A week: event loops cannot wait for ever, and a longer wait is a slip of the keyboard.
LONGEST = 604_800
Seconds = Annotated[float, Field(gt=0, le=LONGEST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LogFormat = Literal["json", "text"]

# RFC 1123 section 2.1, and underscores, which containers have in their names.
_HOST_NAME = re.compile(r"(?!-|.{254})[\w-]{1,63}(\.[\w-]{1,63})*\.?", re.ASCII)


class SettingsError(Exception):
    """Settings that the service cannot start with.

    As text it is one sentence per variable, each on its own line, and holds no value.
    """


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _log_format(values: dict[str, Any]) -> LogFormat:
    return "json" if values.get("environment") == "production" else "text"


class Settings(BaseSettings):
    """The settings, by the lower-cased names of their environment variables.

    A variable that is set but empty counts as not set. A name in `.env` that looks like a slip for
    that of a setting is refused; others are another program's, such as Compose's.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8-sig",  # editors on Windows put a mark in front
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # a wrong value may be a secret
    )

    environment: Literal["development", "production"] = Field(
        default="development", description="what the process is used for"
    )
    debug: bool = Field(
        default=False, description="whether errors show their cause to the client; development only"
    )
    host: str = Field(default="127.0.0.1", description="the address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="the TCP port to listen on")
    web_concurrency: Count = Field(default=1, description="the number of worker processes")
    log_level: Annotated[LogLevel, BeforeValidator(_upper)] = Field(
        default="INFO", description="the least severe level that is logged"
    )
    log_format: LogFormat = Field(
        default_factory=_log_format,
        description="how a log line looks; 'json' in production and 'text' in development",
    )
    max_content_length: Count = Field(
        default=1024 * 1024, description="the largest request body that is accepted, in bytes"
    )
    worker_threads: Count = Field(
        default=100, description="the number of requests at once in views that are not async"
    )
    max_waiting: Count = Field(
        default=1000, description="the number of such requests that may wait for a thread"
    )
    max_in_flight: Count = Field(
        default=10_000, description="the number of requests at once in all; others are answered 503"
    )
    request_timeout_seconds: Seconds = Field(
        default=60,
        description="how long a short body may take to arrive, and then an async view to begin its "
        "response; a stream may last longer",
    )
    # jinja: if cookiecutter.include_example
    prices_base_url: HttpUrl | None = Field(
        default=None,
        validate_default=True,
        description="the URL of the price upstream; without one, development uses a built-in stub",
    )
    prices_timeout_seconds: Seconds = Field(
        default=2.0, description="how long one call may take with its retries, in seconds"
    )
    prices_deadline_seconds: Seconds = Field(
        default=3.0, description="how long all calls of one request may take, in seconds"
    )
    prices_max_concurrency: Count = Field(
        default=10, description="the number of calls at once within one request"
    )
    prices_max_connections: Count = Field(
        default=100, description="the number of connections to the upstream per worker"
    )
    prices_max_waiting: Count = Field(
        default=1000,
        description="the number of calls that may wait for a connection; others fail at once",
    )
    prices_max_response_bytes: Count = Field(
        default=1024 * 1024, description="the largest reply of the upstream, decoded, in bytes"
    )
    prices_max_retries: int = Field(
        default=2, ge=0, description="how often one call that failed for a moment is tried again"
    )
    prices_retry_share: float = Field(
        default=0.19,
        ge=0,
        le=1,
        description="the most that retries and hedges may add to the calls, as a share of them",
    )
    prices_hedge: bool = Field(
        default=False,
        description="whether a call that takes longer than 95 % of the latest is made twice",
    )
    prices_breaker_failures: Count = Field(
        default=20, description="after how many failures in a row the upstream is left alone"
    )
    prices_breaker_seconds: Seconds = Field(
        default=2.0, description="how long it is left alone before one call tries it, in seconds"
    )
    prices_required: bool = Field(
        default=False, description="whether /readyz says no while the upstream is left alone"
    )
    prices_cache: bool = Field(
        default=False, description="whether replies are used again as their Cache-Control allows"
    )
    prices_cache_redis_url: SecretStr | None = Field(
        default=None, description="the Redis that keeps them; without one, each worker's memory"
    )
    stub_delay_ms: float = Field(
        default=50,
        ge=0,
        allow_inf_nan=False,
        description="how long the stub takes to answer, in milliseconds",
    )
    # jinja: endif
    shutdown_delay_seconds: float = Field(
        default=0,
        ge=0,
        le=LONGEST,
        allow_inf_nan=False,
        description="how long /readyz says no before the socket closes, in seconds",
    )
    shutdown_grace_seconds: Seconds = Field(
        default=30, description="how long a stop waits for requests in flight, in seconds"
    )
    keep_alive_seconds: Count = Field(
        default=75, description="how long an idle connection stays open, in whole seconds"
    )
    forwarded_allow_ips: str = Field(
        default="127.0.0.1",
        description="the proxies whose X-Forwarded headers are believed, separated by commas",
    )
    deadline_allow_ips: str = Field(
        default="",
        description="the callers whose X-Envoy-Expected-Rq-Timeout-Ms is believed, as addresses or "
        "networks separated by commas; nobody unless set",
    )

    @field_validator("deadline_allow_ips")
    @classmethod
    def _only_callers(cls, value: str) -> str:
        try:
            Callers(value)
        except ValueError:
            message = "must be IP addresses, networks or '*', separated by commas"
            raise ValueError(message) from None
        return value

    @model_validator(mode="before")
    @classmethod
    def _leave_to_others_what_is_theirs(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if _meant_by(name)}

    @field_validator("host")
    @classmethod
    def _can_be_listened_on(cls, value: str) -> str:
        if not _is_address(value.partition("%")[0]) and not _HOST_NAME.fullmatch(value):
            message = "must be an IP address or the name of a host"
            raise ValueError(message)
        return value

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _are_addresses(cls, value: str) -> str:
        # uvicorn takes what is neither for a name, which matches no client.
        for each in value.split(","):
            if each.strip() != "*" and not _is_network(each.strip()):
                message = "must be addresses and networks, like 10.0.0.0/8, or *"
                raise ValueError(message)
        return value

    # jinja: if cookiecutter.include_example
    @field_validator("prices_base_url")
    @classmethod
    def _no_credentials(cls, value: HttpUrl | None) -> HttpUrl | None:
        if value is not None and (value.username or value.password):
            message = "must have no user name and no password in it: logs show addresses"
            raise ValueError(message)
        return value

    @field_validator("prices_cache_redis_url")
    @classmethod
    def _is_the_url_of_a_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _is_redis_url(value.get_secret_value()):
            message = (
                "must be like redis://:password@host:6379/0, with every sign of the password "
                "that is no letter and no digit percent-encoded: %2F for a slash"
            )
            raise ValueError(message)
        return value

    @field_validator("prices_cache")
    @classmethod
    def _no_cache_without_the_extra(cls, value: bool) -> bool:  # noqa: FBT001 - pydantic calls it
        if value and not all(map(find_spec, ("hishel", "anysqlite", "redis"))):
            message = "needs the extra `cache`: uv sync --extra cache"
            raise ValueError(message)
        return value

    @field_validator("prices_base_url")
    @classmethod
    def _no_fragment(cls, value: HttpUrl | None) -> HttpUrl | None:
        if value is not None and "#" in str(value):
            message = "must have no fragment: it would never be sent"
            raise ValueError(message)
        return value

    @field_validator("prices_base_url")
    @classmethod
    def _no_stub_in_production(cls, value: HttpUrl | None, info: ValidationInfo) -> HttpUrl | None:
        if value is None and info.data.get("environment") == "production":
            message = "must be set when ENVIRONMENT is production"
            raise ValueError(message)
        return value

    # jinja: endif
    @field_validator("debug")
    @classmethod
    def _no_debug_in_production(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic calls it
        if value and info.data.get("environment") == "production":
            message = "must be false when ENVIRONMENT is production"
            raise ValueError(message)
        return value


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


# jinja: if cookiecutter.include_example
def _is_redis_url(text: str) -> bool:
    """Tell whether redis-py can take `text`, as far as that shows before it connects."""
    # Some of what is not printed gets lost on the way. A `#`, and a `?` before the `@`, were meant
    # to be in the password.
    if not re.fullmatch(r"[^?#]+(\?[^?#@]*)?", text) or not text.isprintable():
        return False
    try:
        url = urllib.parse.urlsplit(text)
        port = url.port
    except ValueError:  # the port is no number: a slash in the password ended the host before it
        return False
    if url.scheme == "unix":
        return url.path.startswith("/") and _takes_options(text)
    has_host = re.fullmatch(r"\S+", url.hostname or "") and port != 0
    has_number = re.fullmatch(r"(/\d{0,9})?", url.path)
    is_redis = url.scheme in {"redis", "rediss"} and has_host and has_number
    return bool(is_redis) and _takes_options(text)


def _takes_options(text: str) -> bool:
    """Tell whether redis-py knows what stands behind the question mark; only it does."""
    if "?" not in text or not find_spec("redis"):
        return True
    from redis.asyncio import ConnectionPool  # noqa: PLC0415 - an extra, and slow to import

    try:
        ConnectionPool.from_url(text).make_connection()  # type: ignore[no-untyped-call] # its own
    except (TypeError, ValueError, AttributeError):
        return False
    return True


# jinja: endif
def load_settings(**overrides: object) -> Settings:
    """Return the settings of the environment and `.env`; `overrides` go before both.

    Raises `SettingsError` with one sentence for each wrong variable.
    """
    if wrong_certificates := certificate_mistakes():
        raise SettingsError("\n".join(wrong_certificates))
    given: dict[str, Any] = overrides
    try:
        return Settings(**given)
    except UnicodeDecodeError as error:
        message = ".env is not UTF-8 text."
        raise SettingsError(message) from error
    except OSError as error:
        message = f".env cannot be read: {error.strerror}."
        raise SettingsError(message) from error
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)
        # The default of LOG_FORMAT needs the settings before it, and is no mistake of its own.
        mistakes = [each for each in wrong if each["type"] != "default_factory_not_called"]
    raise SettingsError("\n".join(_sentence(mistake) for mistake in mistakes))


def _sentence(mistake: ErrorDetails) -> str:
    name = str(mistake["loc"][0])
    if mistake["type"] == "extra_forbidden":
        meant = str(_meant_by(name)).upper()
        return f"{name.upper()} in .env is not a setting of this service; did you mean {meant}?"
    wrong = mistake["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{name.upper()} {wrong} ({Settings.model_fields[name].description})."


def _meant_by(name: str) -> str | None:
    """Return the setting that `name` is or looks like, or `None` where it is none of this service.

    It looks like one with one slip of the keyboard, with an underscore too many or too few, or
    without its unit. `DB_PORT`, `PORT2` and `MAX_CONNECTIONS` are names of their own.
    """
    if name in Settings.model_fields:
        return name
    joined = name.replace("_", "")
    for setting in Settings.model_fields:
        without_unit = re.sub("_(seconds|ms|bytes)$", "", setting)
        if name == without_unit or joined == setting.replace("_", "") or _is_slip(name, setting):
            return setting
    return None


def _is_slip(name: str, setting: str) -> bool:
    """Tell whether a letter is missing, added or another, or two have changed places."""
    start = _same(name, setting)
    end = _same(name[start:][::-1], setting[start:][::-1])
    here, there = name[start : len(name) - end], setting[start : len(setting) - end]
    turned = len(here) == len("ab") and here == there[::-1]
    return (here + there).isalpha() and (turned or max(len(here), len(there)) == 1)


def _same(one: str, other: str) -> int:
    """Return how many letters both begin with."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return len(list(pairs))
