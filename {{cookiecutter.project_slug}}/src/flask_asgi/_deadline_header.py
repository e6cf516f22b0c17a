"""Reads how long the caller of a request waits, from callers that are trusted."""

from collections.abc import Callable
from math import inf

from flask import Flask, request

from ._marks import on_loop
from ._networks import Networks

# In seconds. A request with less time could not be answered, and its calls would be wasted.
SHORTEST_BUDGET = 0.1

# The digits of the header's value. A longer number means more than a year.
_MOST_DIGITS = 11


def init_deadlines(
    app: Flask, header: str, *, believed: Networks, begin: Callable[[float], None]
) -> None:
    """Call `begin` in every request with the seconds that its caller waits, or infinity.

    Args:
        app: the Flask application.
        header: the header with that time in milliseconds. At least `SHORTEST_BUDGET` is given.
        believed: the callers whose header is believed. All others have infinite time.
        begin: keeps the time for the calls of this request, as `upstreams.begin_request` does.
    """

    @on_loop
    def start() -> None:
        # Always called: under WSGI a thread's next request runs in the same context.
        given = request.headers.get(header)
        is_believed = given is not None and request.remote_addr in believed
        begin(_seconds(given) if given is not None and is_believed else inf)

    app.before_request(start)


def _seconds(given: str) -> float:
    """Return the header's value in seconds, infinity for an invalid value."""
    if not (given.isascii() and given.isdigit() and len(given) <= _MOST_DIGITS):
        return inf
    return max(SHORTEST_BUDGET, int(given) / 1000)
