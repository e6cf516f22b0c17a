"""Attacks on a service, and on FastAPI and Quart in the same run, with their outcomes.

Each attack gets a fresh server process, and stops by itself. If the HTTP parser matters, the bake
is also served by plain uvicorn with both parsers, without the bake's own command.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from . import attackers
from .attackers import Field
from .robustness import Row, Table, main, parser, report, services
from .services import FASTAPI, QUART, Service, extended
from .serving import BenchError, Cores

NAME = "attacks"
PEERS = {"fastapi": FASTAPI, "quart": QUART}
H11 = ("--http", "h11")


class Attack(NamedTuple):
    """An attack."""

    name: str
    title: str
    run: Callable[[Field], str]
    parsers: bool = False  # whether the HTTP parser matters


ATTACKS = (
    Attack("desync", "Bodies of requests that ask for an upgrade", attackers.desync, parsers=True),
    Attack(
        "h2c",
        "POST that offers HTTP/2, as Java's client does",
        attackers.upgrade_with_body,
        parsers=True,
    ),
    Attack(
        "websocket", "GET that asks for a WebSocket", attackers.upgrade_without_body, parsers=True
    ),
    Attack("heads", "Large heads", attackers.large_heads, parsers=True),
    Attack("json", "5 KB of JSON, nested deeply", attackers.deep_json),
    Attack("slow", "100 bodies that come a byte at a time", attackers.slow_bodies),
    Attack("resets", "Several requests and a reset, 3,000 times", attackers.pipelined_and_reset),
    Attack("deadline", "Requests with a deadline of 20 ms in a header", attackers.short_deadlines),
    Attack("bombs", "Upstream replies that decode to huge bodies", attackers.decoding_bombs),
    Attack("orphans", "SIGKILL to the parent of two workers", attackers.killed_parent),
    Attack("pipe", "Output to a pipe that nobody reads", attackers.unread_pipe),
)


def targets(chosen: dict[str, Service], *, parsers: bool) -> Iterator[tuple[str, str, Service]]:
    """The targets: the peer, the name of this way to serve it, and the service."""
    for name, service in chosen.items():
        yield name, name, service
        if parsers and service.project:
            plain = service._replace(application="benchmarks.apps.extended:asgi")
            yield name, f"{name}-uvicorn", plain._replace(label=f"{service.label}, plain uvicorn")
            h11 = plain._replace(label=f"{service.label}, plain uvicorn, h11", options=H11)
            yield name, f"{name}-h11", h11
        elif parsers:
            h11 = service._replace(label=f"{service.label}, h11", options=H11)
            yield name, f"{name}-h11", h11


def tables(rows: list[Row]) -> list[Table]:
    """The outcomes, as a table for each attack."""
    found = []
    for attack in ATTACKS:
        lines = [(row["label"], row["found"]) for row in rows if row["attack"] == attack.name]
        if lines:
            found.append(Table(attack.title, ("service", "what happened"), lines))
    return found


def work() -> None:
    """Attacks, prints and publishes."""
    options = _options()
    cores = Cores()
    chosen = {name: extended(each) for name, each in services(options, PEERS).items()}
    rows: list[Row] = []
    for attack in ATTACKS:
        if options.only and attack.name not in options.only:
            continue
        for peer, name, service in targets(chosen, parsers=attack.parsers):
            try:
                found = attack.run(Field(name, service, cores))
            except BenchError as error:
                found = str(error)
            rows.append(
                {"peer": peer, "label": service.label, "attack": attack.name, "found": found}
            )
            print(f"{attack.title}: {service.label}: {found}", flush=True)
    report(NAME, rows, tables, options)


def _options() -> argparse.Namespace:
    found = parser(__doc__, PEERS)
    found.add_argument(
        "--only",
        action="append",
        choices=[attack.name for attack in ATTACKS],
        help="an attack to run; may be repeated. Default: all",
    )
    return found.parse_args()


if __name__ == "__main__":
    sys.exit(main(work))
