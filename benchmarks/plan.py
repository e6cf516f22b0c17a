"""The plan of measurements: the works, connections and durations of each peer."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

WORKS = {
    "noop": "async view that does nothing",
    "sync": "synchronous view that does nothing",
    "wait": "async view that gathers three 50 ms sleeps",
    "calls": "async view that gathers three upstream calls of 50 ms",
    "hook": "async view that does nothing, with a synchronous hook before it",
    "hooks": "async view that does nothing, with a synchronous hook before and one after it",
    "hidden": "async view that does nothing, behind a synchronous decorator",
}

# The connections of each peer, by work. Much slower peers have fewer points.
FULL: Mapping[str, Mapping[str, Sequence[int]]] = {
    "noop": {
        "template": (1, 50, 400, 1000, 5000),
        "fastapi": (1, 50, 400, 1000, 5000),
        "quart": (1, 50, 400, 1000, 5000),
        "pool": (50, 400, 1000),
        "a2wsgi": (50, 400),
        "gthread": (50, 400),
        "recipe": (50,),
        "recipe-reset": (50,),
        "recipe-context": (50,),
    },
    "sync": {
        "template": (50, 400, 1000),
        "fastapi": (50, 400, 1000),
        "quart": (50, 400, 1000),
        "pool": (50, 400, 1000),
        "a2wsgi": (50,),
        "gthread": (50,),
        "recipe-reset": (50,),
    },
    "wait": {
        "template": (50, 400, 1000, 5000),
        "fastapi": (50, 400, 1000, 5000),
        "fastapi-spared": (400, 1000, 5000),
        "quart": (50, 400, 1000, 5000),
        "pool": (50, 400, 1000),
        "a2wsgi": (50, 400),
        "gthread": (50, 400),
        "recipe-reset": (50,),
        "recipe-context": (50,),
    },
    "calls": {
        "template": (50, 100, 400),
        "fastapi": (50, 100, 400),
        "quart": (50,),
        "fastapi-stock": (50, 100),
        "fastapi-raised": (50,),
    },
    "hook": {"template": (50, 400), "fastapi": (50, 400), "quart": (50, 400)},
    "hooks": {"template": (50, 400), "fastapi": (50, 400), "quart": (50, 400)},
    "hidden": {"template": (50, 400)},
}

IN_FLIGHT: Mapping[str, Sequence[int]] = {
    "template": (100, 1000, 5000, 10_000),
    "fastapi": (100, 1000, 5000, 10_000),
    "quart": (100, 1000, 5000, 10_000),
    "recipe-context": (100, 1000),
}

# The shares of upstream calls that fail, for each way of calling.
AIMED_SHARE = 0.3
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
GOODPUT: Mapping[str, Sequence[float]] = {
    "template": SHARES,
    "template-hedged": (0.1, 0.3, 0.5),
    "fastapi": SHARES,
    "quart": (0.3,),
    "fastapi-partial": (0.1, 0.3, 0.5),
    "fastapi-tries": (0.1, 0.3, 0.5),
}

# The comparison with the recipe of Flask's documentation, for the README.
RECIPES = ("recipe", "recipe-reset", "recipe-context", "template")


class Plan(NamedTuple):
    """The extent of a run."""

    rounds: int
    loads: Mapping[str, Mapping[str, Sequence[int]]]
    in_flight: Mapping[str, Sequence[int]]
    recipes: Sequence[str]
    goodput: Mapping[str, Sequence[float]]
    quick: bool

    def seconds(self, work: str, connections: int) -> int:
        """The duration of a load: wrk first needs time to connect, and some peers are slow."""
        if work == "calls":
            return 3 if self.quick else 5
        if self.quick:
            return 1
        return 6 if connections > 1000 else 3 if connections > 400 else 2  # noqa: PLR2004

    def goodput_seconds(self, peer: str, share: float) -> int:
        """The duration of the requests: longest where one in a hundred matters."""
        if self.quick:
            return 1
        return 20 if peer == "template" and share == AIMED_SHARE else 5


def plan(*, quick: bool) -> Plan:
    """The whole run, or a short run that only shows that everything works."""
    if not quick:
        return Plan(3, FULL, IN_FLIGHT, RECIPES, GOODPUT, quick)
    loads = {
        work: {peer: [n for n in counts if n in {50, 1000}] for peer, counts in peers.items()}
        for work, peers in FULL.items()
    }
    in_flight = {peer: [n for n in counts if n <= 1000] for peer, counts in IN_FLIGHT.items()}  # noqa: PLR2004
    goodput = {peer: [n for n in shares if n == AIMED_SHARE] for peer, shares in GOODPUT.items()}
    return Plan(1, loads, in_flight, ("recipe", "template"), goodput, quick)
