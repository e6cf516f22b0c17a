"""Every setting of the service: typed, read from the environment and `.env`, checked at start."""

import ipaddress
import os
import sys
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict
from upstreams import UpstreamSettings, certificate_mistakes, is_host

from .variables import NESTED, example, group_of, meant_by, misnamed, variables

# A week: event loops cannot wait for ever, and a longer wait is a slip of the keyboard.
LONGEST = 604_800
Seconds = Annotated[float, Field(gt=0, le=LONGEST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LogFormat = Literal["json", "text"]


class SettingsError(Exception):
    """Settings that the service cannot start with.

    As text it is one sentence per variable, each on its own line, and holds no value.
    """


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _log_format(values: dict[str, Any]) -> LogFormat:
    return "json" if values.get("environment") == "production" else "text"


def _host(value: str) -> str:
    if not is_host(value):
        message = "must be an IP address or the name of a host"
        raise ValueError(message)
    return value


def _addresses(value: str) -> str:
    # uvicorn takes what is neither for a name, which matches no client.
    try:
        for each in map(str.strip, value.split(",") if value else ()):
            _ = each == "*" or ipaddress.ip_network(each)
    except ValueError:
        message = (
            "must be IP addresses, networks or '*', separated by commas; "
            "a network is like 192.0.2.0/24"
        )
        raise ValueError(message) from None
    return value


# jinja: if cookiecutter.include_example
class PricesSettings(UpstreamSettings):
    """The settings of the price upstream: those of every upstream, and those of its view."""

    deadline_seconds: Seconds = Field(
        default=3.0, description="how long all calls of one request may take, in seconds"
    )
    max_concurrency: Count = Field(
        default=10, description="the number of calls at once within one request"
    )


# jinja: endif
class Settings(BaseSettings):
    """The settings, by the lower-cased names of their environment variables.

    Those of an upstream are a group: `ORDERS__BASE_URL` is `orders.base_url`. A variable that is
    set but empty counts as not set. A name in `.env` that looks like a slip for that of a setting
    is refused, and one in the environment that looks like an upstream's; others are another
    program's, such as Compose's.
    """

    model_config = SettingsConfigDict(
        enable_decoding=False,  # a value is never read as JSON: one way to set each
        env_file=".env",
        env_file_encoding="utf-8-sig",  # editors on Windows put a mark in front
        env_ignore_empty=True,
        env_nested_delimiter=NESTED,
        env_nested_max_split=1,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # a wrong value may be a secret
        nested_model_default_partial_update=True,
    )

    environment: Literal["development", "production"] = Field(
        default="development",
        description="what the process is used for: development or production, which refuses DEBUG",
    )
    debug: bool = Field(
        default=False, description="whether errors show their cause to the client; development only"
    )
    host: Annotated[str, AfterValidator(_host)] = Field(
        default="127.0.0.1", description="the address to listen on; a container needs 0.0.0.0"
    )
    port: int = Field(default=8000, ge=0, le=65535, description="the TCP port to listen on")
    web_concurrency: Count = Field(default=1, description="the number of worker processes")
    log_level: Annotated[LogLevel, BeforeValidator(_upper)] = Field(
        default="INFO",
        description="the least level that is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL",
    )
    log_format: LogFormat = Field(
        default_factory=_log_format,
        description="how a log line looks, json or text; json in production and text in "
        "development unless set",
    )
    max_content_length: Count = Field(
        default=1024 * 1024, description="the largest request body that is accepted, in bytes"
    )
    worker_threads: Count = Field(
        default=100, description="the number of requests at once in views that are not async"
    )
    max_waiting: Count = Field(
        default=1000,
        description="the number of such requests that may wait for a thread; more are answered 503",
    )
    max_in_flight: Count = Field(
        default=10_000,
        description="the number of requests at once in all; more are answered 503, except health "
        "checks",
    )
    request_timeout_seconds: Seconds = Field(
        default=60,
        description="how long a request's body of at most 64 KiB may take to arrive (then: 408), "
        "and after that an async view to begin its response (then it is cancelled: 504), in "
        "seconds; a stream may last longer",
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
    shutdown_delay_seconds: float = Field(
        default=0,
        ge=0,
        le=LONGEST,
        allow_inf_nan=False,
        description="how long /readyz says no before the socket closes, in seconds: what a load "
        "balancer needs to notice",
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
        description="the proxies whose X-Forwarded headers are believed, as addresses or networks "
        "separated by commas; * for all",
    )
    deadline_allow_ips: Annotated[str, AfterValidator(_addresses)] = Field(
        default="",
        description="the callers whose X-Envoy-Expected-Rq-Timeout-Ms is believed, as addresses or "
        "networks separated by commas; * for all, and nobody unless set",
    )

    @model_validator(mode="before")
    @classmethod
    def _with_names_that_are_meant(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Pass over what is another program's, and add what looks like an upstream's setting."""
        known = {*cls.model_fields, *variables(cls)}
        given = {name: value for name, value in values.items() if meant_by(name, known)}
        return misnamed(os.environ, cls) | given

    @model_validator(mode="before")
    @classmethod
    def _no_stub_in_production(cls, values: dict[str, Any]) -> dict[str, Any]:
        # Here and not in a validator of the group, which would not run with a mistake inside.
        if values.get("environment") != "production":
            return values
        given = dict(values)
        for name, field in cls.model_fields.items():
            group = given.get(name, {})
            if issubclass(group_of(field) or object, UpstreamSettings) and isinstance(group, dict):
                given[name] = group | {"base_url": group.get("base_url") or ""}
        return given

    @field_validator("debug")
    @classmethod
    def _no_debug_in_production(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic calls it
        if value and info.data.get("environment") == "production":
            message = "must be false when ENVIRONMENT is production"
            raise ValueError(message)
        return value


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
    known = variables(Settings)
    name = NESTED.join(map(str, mistake["loc"]))
    variable = name.upper()
    if mistake["type"] == "extra_forbidden":
        meant = meant_by(name, known)
        hint = f"; did you mean {meant.upper()}?" if meant else "."
        return f"{variable} is not a setting of this service{hint}"
    parts = [each.upper() for each in known if each.startswith(name + NESTED)]
    if parts and mistake["type"] == "model_type":
        return f"{variable} must be set by its parts, such as {parts[0]}."
    wrong = mistake["msg"].removeprefix("Value error, ").removeprefix("Input ")
    field = known.get(name) or Settings.model_fields[str(mistake["loc"][0])]
    return f"{variable} {wrong} ({field.description})."


if __name__ == "__main__":
    sys.stdout.write(example(Settings.model_construct()))
