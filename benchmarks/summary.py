"""Medians over the rounds, and the ratios that the project aims for."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from .peers import PEERS
from .plan import AIMED_SHARE

Row = dict[str, Any]
Point = tuple[str, str, int]  # work, peer, connections

MANY_ERRORS = 0.01


class Ratio(NamedTuple):
    """A figure and its aim."""

    what: str
    value: float | None
    least: float | None = None
    most: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the aim is reached; None without an aim or without a figure."""
        if self.value is None or (self.least is None and self.most is None):
            return None
        above = self.least is None or self.value >= self.least
        below = self.most is None or self.value <= self.most
        return above and below


def medians(samples: Sequence[Row]) -> list[Row]:
    """One row for each work, peer and number of connections, with the median of every figure.

    `lowest` and `highest` are the range of the throughput over the rounds.
    """
    grouped: dict[Point, list[Row]] = {}
    for sample in samples:
        point = sample["work"], sample["peer"], sample["connections"]
        grouped.setdefault(point, []).append(sample)
    rows = []
    for (work, peer, connections), group in grouped.items():
        throughput = [row["requests_per_second"] for row in group]
        rows.append(
            {
                "work": work,
                "peer": peer,
                "connections": connections,
                "requests_per_second": statistics.median(throughput),
                "lowest": min(throughput),
                "highest": max(throughput),
                "error_share": _median(row["error_share"] for row in group),
                "latency_ms": {
                    name: _median(row["latency_ms"].get(name) for row in group)
                    for name in ("50", "75", "90", "99")
                },
                "cpu_us_per_request": _median(row["cpu_us_per_request"] for row in group),
            }
        )
    return rows


def _median(values: Any) -> float | None:  # noqa: ANN401 (an iterable of numbers and None)
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def ratios(rows: Sequence[Row], in_flight: Sequence[Row], goodput: Sequence[Row]) -> list[Ratio]:
    """The figures with an aim, from the medians of one run."""
    throughput = _by_point(rows, "requests_per_second")
    cost = _by_point(rows, "cpu_us_per_request")
    found = []

    def compare(work: str, peer: str, counts: Sequence[int], least: float | None = None) -> None:
        for count in counts:
            ours, theirs = (work, "template", count), (work, peer, count)
            if ours in throughput and theirs in throughput:
                what = f"{work}, {count} connections: throughput / {PEERS[peer].label}"
                value = _divided(throughput[ours], throughput[theirs])
                found.append(Ratio(what, value, least))

    compare("noop", "quart", (50, 400, 1000), 1.15)
    compare("noop", "fastapi", (50, 400, 1000))
    compare("wait", "quart", (400, 1000, 5000))
    compare("wait", "fastapi", (400, 1000, 5000), 1.0)
    compare("wait", "fastapi-spared", (400, 1000, 5000))
    compare("sync", "pool", (50, 400, 1000), 2.5)
    compare("sync", "quart", (50, 400, 1000))
    compare("sync", "fastapi", (50, 400, 1000))
    compare("calls", "fastapi-stock", (50, 100), 20.0)
    compare("calls", "fastapi-raised", (50,), 20.0)
    compare("calls", "fastapi", (50, 100, 400), 1.0)
    compare("calls", "quart", (50, 400))
    compare("hook", "fastapi", (50, 400))
    compare("hook", "quart", (50, 400))
    compare("hooks", "fastapi", (50, 400))
    compare("hooks", "quart", (50, 400), 1.0)
    for peer in ("template", "fastapi", "quart"):
        many, few = ("noop", peer, 5000), ("noop", peer, 50)
        if many in cost and few in cost:
            what = f"noop, {PEERS[peer].label}: processor time, 5000 / 50 connections"
            aim = 1.3 if peer == "template" else None
            found.append(Ratio(what, _divided(cost[many], cost[few]), most=aim))
    for row in in_flight:
        if row["requests"] == 10_000:  # noqa: PLR2004 (what is aimed for)
            memory, lost = (35.0, 0.0) if row["peer"] == "template" else (None, None)
            what = f"10000 in flight, {PEERS[row['peer']].label}"
            each = round(row["memory_per_request"] / 1000, 1)
            found.append(Ratio(f"{what}: KB of memory each", each, most=memory))
            found.append(Ratio(f"{what}: lost", row["lost"], most=lost))
    return found + _of_failing(goodput)


def _of_failing(goodput: Sequence[Row]) -> list[Ratio]:
    """The aims while upstream calls fail, in per cent."""
    found = []
    for row in goodput:
        if (row["peer"], row["failing_share"]) == ("template", AIMED_SHARE):
            what = f"{AIMED_SHARE:.0%} of upstream calls failing"
            answered, load = (
                round(100 * row[name], 2) for name in ("answered_share", "upstream_load")
            )
            found.append(Ratio(f"{what}: % of requests answered in time", answered, least=99.0))
            found.append(Ratio(f"{what}: upstream load in %", load, most=120.0))
    return found


def _by_point(rows: Sequence[Row], figure: str) -> dict[Point, float | None]:
    return {(row["work"], row["peer"], row["connections"]): row[figure] for row in rows}


def _divided(ours: float | None, theirs: float | None) -> float | None:
    return round(ours / theirs, 2) if ours and theirs else None
