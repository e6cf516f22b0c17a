"""A pydantic model of an upstream's settings, for programs that read them from the environment."""

from functools import partial
from importlib.util import find_spec

import httpx
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, field_validator

from ._host import is_host
from ._observer import NOBODY, Observer, Trace
from ._pool import OpenCache, Transport
from ._setting_types import Count, RedisUrl, Seconds
from ._upstream import PassOn, Upstream


def _has_host(url: HttpUrl) -> bool:
    """Tell whether a URL's host is valid for httpx, which allows fewer characters than pydantic.

    httpx allows those of RFC 5891, and not those that browsers convert.
    """
    try:
        host = httpx.URL(str(url)).host
    except (httpx.InvalidURL, UnicodeError):
        return False
    return host != "" and is_host((url.host or "").strip("[]"))


class UpstreamSettings(BaseModel):
    """The settings of one upstream, with the defaults of `Upstream`.

    Use it as a field of the program's own settings, for example of a `ServiceSettings`. A subclass
    can add settings or change defaults. An empty `base_url` is refused: production needs it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: HttpUrl | None = Field(
        default=None,
        description="the URL of the upstream; required in production; in development the client's "
        "stub answers without it",
    )
    timeout_seconds: Seconds = Field(
        default=Upstream.timeout,
        description="how long one call may take with its retries, in seconds",
    )
    max_connections: Count = Field(
        default=Upstream.max_connections,
        description="the largest number of connections to the upstream per worker",
    )
    max_waiting: Count = Field(
        default=Upstream.max_waiting,
        description="how many calls may wait for a connection; further ones fail at once (503)",
    )
    max_response_bytes: Count = Field(
        default=Upstream.max_response_bytes,
        description="the largest reply of the upstream, decoded, in bytes",
    )
    max_retries: int = Field(
        default=Upstream.max_retries,
        ge=0,
        le=100,
        description="how often a call is retried after a temporary failure",
    )
    retry_share: float = Field(
        default=Upstream.retry_share,
        ge=0,
        le=1,
        description="the largest average number of retries and hedges per call",
    )
    hedge: bool = Field(
        default=Upstream.hedge,
        description="whether a GET that takes longer than 95 % of recent ones is sent a second "
        "time while the first goes on",
    )
    breaker_failures: Count = Field(
        default=Upstream.breaker_failures,
        description="the number of consecutive failures that opens the circuit breaker",
    )
    breaker_seconds: Seconds = Field(
        default=Upstream.breaker_seconds,
        description="how long the circuit breaker stays open before one call tries the upstream, "
        "in seconds",
    )
    required: bool = Field(
        default=Upstream.required,
        description="whether /readyz answers 503 while the circuit breaker is open",
    )
    cache: bool = Field(
        default=False,
        description="whether replies are cached as their Cache-Control allows; needs the extra "
        "`cache`",
    )
    cache_redis_url: RedisUrl | None = Field(
        default=None,
        description="the Redis that keeps cached replies, like redis://127.0.0.1:6379/0; without "
        "it each worker keeps them in memory",
    )

    @field_validator("base_url", mode="before")
    @classmethod
    def _is_set(cls, value: object) -> object:
        if value == "":
            message = "must be set when ENVIRONMENT is production"
            raise ValueError(message)
        return value

    @field_validator("base_url")
    @classmethod
    def _can_be_called_and_logged(cls, value: HttpUrl | None) -> HttpUrl | None:
        if value is not None and (value.username or value.password):
            message = "must have no user name and no password in it: logs show addresses"
            raise ValueError(message)
        if value is not None and "#" in str(value):
            message = "must have no fragment: it would never be sent"
            raise ValueError(message)
        if value is not None and not _has_host(value):
            message = "must have an IP address or the name of a host in it"
            raise ValueError(message)
        return value

    @field_validator("cache")
    @classmethod
    def _has_the_extra(cls, value: bool) -> bool:  # noqa: FBT001 - pydantic calls it
        if value and not all(map(find_spec, ("hishel", "anysqlite", "redis"))):
            message = "needs the packages hishel[httpx,redis]: the extra `cache`"
            raise ValueError(message)
        return value

    def upstream(
        self,
        name: str,
        *,
        stub: Transport | None = None,
        pass_on: PassOn | None = None,
        observer: Observer = NOBODY,
        trace: Trace | None = None,
    ) -> Upstream:
        """Return the upstream with these settings. Without a URL its calls go to the `stub`.

        Without both every call fails: names in `invalid` never resolve (RFC 6761 section 6.4).
        """
        return Upstream(
            name,
            str(self.base_url or f"http://{name}.invalid"),
            timeout=self.timeout_seconds,
            max_connections=self.max_connections,
            max_waiting=self.max_waiting,
            max_response_bytes=self.max_response_bytes,
            max_retries=self.max_retries,
            retry_share=self.retry_share,
            hedge=self.hedge,
            breaker_failures=self.breaker_failures,
            breaker_seconds=self.breaker_seconds,
            required=self.required,
            cache=self._open_cache(),
            transport=None if self.base_url else stub,
            pass_on=pass_on,
            observer=observer,
            trace=trace,
        )

    def _open_cache(self) -> OpenCache | None:
        if not self.cache:
            return None
        from ._cache import open_cache  # noqa: PLC0415 - optional dependencies

        url = self.cache_redis_url
        return partial(open_cache, None if url is None else url.get_secret_value())
