"""The price service: an example of an upstream whose replies are checked before use."""

import json
from decimal import Decimal
from typing import NoReturn
from urllib.parse import quote

from flask_asgi import ids_to_pass_on
from upstreams import Upstream, UpstreamInvalid

from ..settings import Settings
from .stub import StubPrices

# Twelve digits before the point and twelve after it: any sum of a request's prices is then exact
# within the 28 digits that decimal arithmetic keeps.
_LIMIT = Decimal(10) ** 12
_DECIMAL_PLACES = 12
_LONGEST_NUMBER = 40  # characters, and places before or after the point


class PricesClient:
    """Prices by symbol from one upstream, which the code that made it opens."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream

    @classmethod
    def from_settings(cls, settings: Settings) -> "PricesClient":
        """Return a client of the configured upstream, or of the embedded stub if there is none."""
        stub = StubPrices(delay=settings.stub_delay_ms / 1000).transport
        return cls(settings.prices.upstream("prices", stub=stub, pass_on=ids_to_pass_on))

    async def price(self, symbol: str) -> Decimal:
        """Return the price of one `symbol`.

        Raises `UpstreamInvalid` for a reply without a price of it, and what `Upstream.get` raises.
        """
        if symbol in {"", ".", ".."}:
            # No encoding keeps these from changing the path (RFC 3986, section 5.2.4).
            message = f"{symbol!r} is not a symbol"
            raise ValueError(message)
        path = f"/prices/{quote(symbol, safe='')}"
        response = await self.upstream.get(path)
        try:
            return _price(response.content, symbol)
        except (ValueError, ArithmeticError, RecursionError) as error:
            reason = type(error).__name__
        # Not raised above, with `error` as its context: `error` holds the reply.
        detail = "sent a reply without a price"
        raise UpstreamInvalid(self.upstream.name, detail, reason=reason)


def _price(content: bytes, symbol: str) -> Decimal:
    # Numbers become decimals directly from the text: a float would be rounded already.
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
    """Return a JSON number, None if it cannot be a price.

    A few characters, such as `0E-400000000`, can denote a number with millions of digits.
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
        message = "the same name twice in an object"
        raise ValueError(message)
    return members
