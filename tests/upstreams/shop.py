"""The settings of a service, of every kind, for the tests that read settings."""

from typing import Annotated, Literal

import pytest
from pydantic import BeforeValidator, Field
from upstreams import (
    Count,
    Delay,
    Host,
    Seconds,
    ServiceSettings,
    SettingsError,
    UpstreamSettings,
)


class OrdersSettings(UpstreamSettings):
    """Settings of an upstream, with a further setting."""

    deadline_seconds: Seconds = Field(default=3.0, description="how long all may take, in seconds")


class Shop(ServiceSettings):
    """A setting of every kind, and two upstreams."""

    debug: bool = Field(default=False, description="whether errors are shown")
    host: Host = Field(default="127.0.0.1", description="the address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="the TCP port to listen on")
    web_concurrency: Count = Field(default=1, description="the number of worker processes")
    log_level: Annotated[Literal["INFO", "ERROR"], BeforeValidator(str.upper)] = Field(
        default="INFO", description="the least level that is logged"
    )
    max_content_length: Count = Field(default=1024, description="the largest body, in bytes")
    request_timeout_seconds: Seconds = Field(default=60, description="how long a request may take")
    stop_delay_seconds: Delay = Field(default=0, description="how long a stop waits")
    key: str | None = Field(default=None, description="what opens the till")
    orders: OrdersSettings = OrdersSettings()
    stock: UpstreamSettings = UpstreamSettings()


def refused(model: type[ServiceSettings] = Shop, **overrides: object) -> list[str]:
    """Return the sentences about the mistakes in the settings; they never show a secret."""
    with pytest.raises(SettingsError) as error:
        model.load(**overrides)
    assert "s3cret" not in str(error.value)
    return str(error.value).splitlines()
