"""Gives every request no more time than its caller waits for it, if the caller is believed."""

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from math import inf

from flask import Flask, request
from flask_asgi import on_loop
from upstreams import BUDGET_HEADER, begin_request

# In seconds. A request that gets less could not be answered, and would only cost its calls.
SHORTEST_BUDGET = 0.1

# Of the header's value. More digits than a year has milliseconds are no time that anybody waits.
_MOST_DIGITS = 11


class Callers:
    """Addresses and networks, separated by commas; `*` is every address, and nothing is none.

    Raises `ValueError` for what is neither.
    """

    def __init__(self, listed: str) -> None:
        names = [name.strip() for name in listed.split(",") if name.strip()]
        self._all = "*" in names
        self._networks: list[IPv4Network | IPv6Network] = [
            ip_network(name, strict=False) for name in names if name != "*"
        ]

    def __contains__(self, address: str | None) -> bool:
        """Tell whether the caller with that address is one of them."""
        if self._all:
            return True
        try:
            caller = ip_address(address or "")
        except ValueError:  # a Unix socket has none
            return False
        if isinstance(caller, IPv6Address) and caller.ipv4_mapped:  # how "::" sees IPv4
            caller = caller.ipv4_mapped
        return any(caller in network for network in self._networks)


def init_app(app: Flask, believed: Callers) -> None:
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
