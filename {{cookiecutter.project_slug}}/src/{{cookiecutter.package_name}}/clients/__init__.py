"""The upstreams, a module for each.

A new one takes three steps:

1. In `settings.py`, `orders: UpstreamSettings = UpstreamSettings()`; the first upstream also needs
   the import from `upstreams`. The service then reads `ORDERS__BASE_URL`,
   `ORDERS__TIMEOUT_SECONDS` and so on.
2. Here, `orders.py` with a class that has the upstream, and a method for each kind of call:

    from flask_asgi import ids_to_pass_on

    from ..settings import Settings


    class OrdersClient:
        def __init__(self, settings: Settings) -> None:
            self.upstream = settings.orders.upstream("orders", pass_on=ids_to_pass_on)

3. Below, `self.orders = OrdersClient(settings)`, and its import. The pool then opens and closes
   with the service, and `/readyz` shows the circuit breaker.
"""

from upstreams import Upstream

# jinja: if cookiecutter.include_example
from ..settings import Settings
from .prices import PricesClient


# jinja: else
from ..settings import Settings


# jinja: endif
class Clients:
    """The clients of all upstreams: each attribute is a client, with an attribute `upstream`."""

    def __init__(self, settings: Settings) -> None:
        """Make every client; the lifespan opens their upstreams."""
        # jinja: if cookiecutter.include_example
        self.prices = PricesClient.from_settings(settings)

    # jinja: else
        _ = settings  # no client yet; write the first like `self.orders = OrdersClient(settings)`

    # jinja: endif
    @property
    def upstreams(self) -> list[Upstream]:
        """The upstreams of all clients."""
        return [client.upstream for client in vars(self).values()]
