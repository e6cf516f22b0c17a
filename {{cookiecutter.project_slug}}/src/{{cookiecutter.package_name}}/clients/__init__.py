"""The upstreams, a module for each. A new one is added here."""

# jinja: if cookiecutter.include_example
from flask import Flask

from .prices import PricesClient


# jinja: else
from flask import Flask


# jinja: endif
def init_app(app: Flask) -> None:
    """Make every client, for the views, and list its upstream, for the lifespan to open."""
    # jinja: if cookiecutter.include_example
    prices = PricesClient.from_settings(app.extensions["settings"])
    app.extensions["prices"] = prices
    app.extensions["upstreams"] = [prices.upstream]
    # jinja: else
    app.extensions["upstreams"] = []
    # jinja: endif
