"""The price service: an example of an upstream whose answers are checked before they are used."""

import json
from decimal import Decimal
from functools import partial
from typing import NoReturn
from urllib.parse import quote

from upstreams import OpenCache, Upstream, UpstreamInvalid

from ..logs import ids_to_pass_on
from ..settings import Settings
from .stub import StubPrices

# Twelve digits before the point and twelve after it: any sum of a request's prices is then exact
# within the 28 digits that decimal arithmetic keeps.
_LIMIT = Decimal(10) ** 12
_DECIMAL_PLACES = 12
_LONGEST_NUMBER = 40  # characters, and places before or after the point


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
                max_waiting=settings.prices_max_waiting,
                max_response_bytes=settings.prices_max_response_bytes,
                max_retries=settings.prices_max_retries,
                retry_share=settings.prices_retry_share,
                breaker_failures=settings.prices_breaker_failures,
                breaker_seconds=settings.prices_breaker_seconds,
                required=settings.prices_required,
                cache=_cache(settings),
                transport=transport,
                pass_on=ids_to_pass_on,
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
            reason = type(error).__name__
        # Not raised above, with `error` as its context: that one holds the reply.
        detail = "sent a reply without a price"
        raise UpstreamInvalid(self.upstream.name, detail, reason=reason)


def _cache(settings: Settings) -> OpenCache | None:
    if not settings.prices_cache:
        return None
    from upstreams._cache import open_cache  # noqa: PLC0415 - needs an extra

    url = settings.prices_cache_redis_url
    return partial(open_cache, None if url is None else url.get_secret_value())


def _price(content: bytes, symbol: str) -> Decimal:
    # Numbers become decimals straight from the text: a float would already have rounded.
    reply = json.loads(
        content,
        parse_float=_decimal,
        parse_int=_decimal,
        parse_constant=_refuse,
        object_pairs_hook=_object,
    )
    match reply:
        case {"symbol": str(name), "price": Decimal() as price} if name == symbol:
            if not price.is_signed() and price < _LIMIT and price == _rounded(price):
                return price if _places(price) <= _DECIMAL_PLACES else _rounded(price)
    message = "no price of this symbol, or one that is negative, too large or too fine"
    raise ValueError(message)


def _decimal(text: str) -> Decimal | None:
    """Return a number of JSON, None if it cannot be a price.

    A few characters, such as `0E-400000000`, can stand for a number that is endless to write.
    """
    number = Decimal(text) if len(text) <= _LONGEST_NUMBER else None
    return number if number is not None and abs(_places(number)) <= _LONGEST_NUMBER else None


def _places(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _rounded(number: Decimal) -> Decimal:
    return round(number, _DECIMAL_PLACES)


def _refuse(constant: str) -> NoReturn:
    message = f"{constant} is not JSON (RFC 8259, section 6)"
    raise ValueError(message)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        message = "a name that is there twice: which one counts is anybody's guess"
        raise ValueError(message)
    return members
