"""The price service: an example of an upstream whose answers are checked before they are used."""

import json
from decimal import Decimal
from functools import partial
from typing import NoReturn
from urllib.parse import quote

from ..settings import Settings
from .errors import UpstreamInvalid
from .http import Upstream
from .pool import OpenCache
from .stub import StubPrices

# Twelve digits before the point and twelve after it: any sum of a request's prices is then exact
# within the 28 digits that decimal arithmetic keeps.
_LIMIT = Decimal(10) ** 12
_DECIMAL_PLACES = 12


class PricesClient:
    """Prices by symbol from one upstream, which whoever made it opens."""

    def __init__(self, upstream: Upstream, *, hedge: bool = False) -> None:
        self.upstream = upstream
        self._hedge = hedge

    @classmethod
    def from_settings(cls, settings: Settings) -> "PricesClient":
        """Return a client of the configured upstream, or of the embedded stub if there is none."""
        if settings.prices_base_url is None:
            base_url = "http://stub.invalid"
            transport = StubPrices(delay=settings.stub_delay_ms / 1000).transport
        else:
            base_url = str(settings.prices_base_url)
            transport = None
        return cls(
            Upstream(
                "prices",
                base_url,
                timeout=settings.prices_timeout_seconds,
                max_connections=settings.prices_max_connections,
                max_response_bytes=settings.prices_max_response_bytes,
                max_retries=settings.prices_max_retries,
                retry_share=settings.prices_retry_share,
                breaker_failures=settings.prices_breaker_failures,
                breaker_seconds=settings.prices_breaker_seconds,
                required=settings.prices_required,
                cache=_cache(settings),
                transport=transport,
            ),
            hedge=settings.prices_hedge,
        )

    async def price(self, symbol: str) -> Decimal:
        """Return the price of one `symbol`.

        Raises `UpstreamInvalid` when the reply holds no price of it, else what `Upstream.get` does.
        """
        if symbol in {"", ".", ".."}:
            # No encoding keeps these from changing the path (RFC 3986, section 5.2.4).
            message = f"{symbol!r} is not a symbol"
            raise ValueError(message)
        path = f"/prices/{quote(symbol, safe='')}"
        response = await self.upstream.get(path, hedge=self._hedge)
        try:
            return _price(response.content, symbol)
        except (ValueError, ArithmeticError, RecursionError) as error:
            raise UpstreamInvalid(self.upstream.name, "sent a reply without a price") from error


def _cache(settings: Settings) -> OpenCache | None:
    if not settings.prices_cache:
        return None
    from .cache import open_cache  # noqa: PLC0415 - needs an extra

    url = settings.prices_cache_redis_url
    return partial(open_cache, None if url is None else url.get_secret_value())


def _price(content: bytes, symbol: str) -> Decimal:
    # Numbers become decimals straight from the text: a float would already have rounded.
    match json.loads(content, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse):
        case {"symbol": str(name), "price": Decimal() as price} if name == symbol:
            in_range = not price.is_signed() and price < _LIMIT
            if in_range and price == round(price, _DECIMAL_PLACES):
                return price
    message = "no price of this symbol, or one that is negative, too large or too fine"
    raise ValueError(message)


def _refuse(constant: str) -> NoReturn:
    message = f"{constant} is not JSON (RFC 8259, section 6)"
    raise ValueError(message)
