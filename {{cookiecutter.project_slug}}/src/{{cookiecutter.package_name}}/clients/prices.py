"""The price service: an example of an upstream whose replies are checked before use."""

from decimal import Decimal
from typing import Annotated
from urllib.parse import quote

from flask_asgi import ids_to_pass_on
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from upstreams import Upstream, UpstreamInvalid, exact_json

from ..settings import Settings
from .stub import StubPrices

_DECIMAL_PLACES = 12


def _plain(price: Decimal) -> Decimal:
    if price.is_signed():
        message = "negative zero"
        raise ValueError(message)
    has_more_zeros = -int(price.as_tuple().exponent) > _DECIMAL_PLACES
    return round(price, _DECIMAL_PLACES) if has_more_zeros else price


class _Reply(BaseModel):
    """A reply of the upstream; further members are ignored.

    Prices have up to twelve digits before the point and after it: any sum of a request's prices is
    then exact within the 28 digits that decimal arithmetic keeps.
    """

    model_config = ConfigDict(strict=True)

    symbol: str
    price: Annotated[
        Decimal,
        Field(ge=0, lt=10**12, decimal_places=_DECIMAL_PLACES),
        AfterValidator(_plain),
    ]


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
            reply = _Reply.model_validate(exact_json(response.content))
        except ValueError as error:
            reason = type(error).__name__
        else:
            if reply.symbol == symbol:
                return reply.price
            reason = "another symbol"
        # Not raised above, with `error` as its context: `error` holds the reply.
        detail = "sent a reply without a price"
        raise UpstreamInvalid(self.upstream.name, detail, reason=reason)
