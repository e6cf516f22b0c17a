"""Gives every request no more time than its caller waits for it, if the caller is believed."""

from math import inf

from flask import Flask, request
from flask_asgi import Networks, on_loop
from upstreams import BUDGET_HEADER, begin_request

# In seconds. A request that gets less could not be answered, and would only cost its calls.
SHORTEST_BUDGET = 0.1

# Of the header's value. More digits than a year has milliseconds are no time that anybody waits.
_MOST_DIGITS = 11


def init_app(app: Flask, believed: Networks) -> None:
    """Begin each request with the time that its caller waits for it, if that is one of them."""

    @on_loop
    def start() -> None:
        # Called in any case: under WSGI a thread's next request runs in the same context.
        given = request.headers.get(BUDGET_HEADER)
        is_believed = given is not None and request.remote_addr in believed
        begin_request(_budget(given) if given is not None and is_believed else inf)

    app.before_request(start)


def _budget(given: str) -> float:
    """Return the seconds that the header's value stands for, infinity for nonsense."""
    if not (given.isascii() and given.isdigit() and len(given) <= _MOST_DIGITS):
        return inf
    return max(SHORTEST_BUDGET, int(given) / 1000)
