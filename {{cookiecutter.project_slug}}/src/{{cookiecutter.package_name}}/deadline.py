"""Limits the time of every request to the time that its caller waits, if the caller is trusted."""

from math import inf

from flask import Flask, request
from flask_asgi import Networks, on_loop
from upstreams import BUDGET_HEADER, begin_request

# In seconds. A request with less time could not be answered, and its calls would be wasted.
SHORTEST_BUDGET = 0.1

# The digits of the header's value. A longer number means more than a year.
_MOST_DIGITS = 11


def init_app(app: Flask, believed: Networks) -> None:
    """Begin each request with the time that its caller waits, if the caller is trusted."""

    @on_loop
    def start() -> None:
        # Always called: under WSGI a thread's next request runs in the same context.
        given = request.headers.get(BUDGET_HEADER)
        is_believed = given is not None and request.remote_addr in believed
        begin_request(_budget(given) if given is not None and is_believed else inf)

    app.before_request(start)


def _budget(given: str) -> float:
    """Return the header's value in seconds, infinity for an invalid value."""
    if not (given.isascii() and given.isdigit() and len(given) <= _MOST_DIGITS):
        return inf
    return max(SHORTEST_BUDGET, int(given) / 1000)
