"""Draws incidents as Prometheus sees them: `python -m benchmarks.incident_plots`, all or by name.

Each is a picture of docs/observing.md: six small graphs, and the alerts below them. It is plain SVG
of a few kilobytes, as every service contains it. It needs Prometheus, and takes six minutes.
"""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from .bake import baked_service
from .incidents import INCIDENTS, Prometheus, Seen, run, watched
from .serving import PROJECT, ROOT

FOLDER = ROOT / PROJECT / "docs" / "images"
SHOWN = [name for name in INCIDENTS if name != "failing-upstream"]

BEFORE, INCIDENT, AFTER = 10.0, 30.0, 15.0  # the shown seconds; INCIDENT is a minimum

REQUESTS = "http_server_request_duration_seconds"
RATE = "[5s]"

COLOURS = ("#0f766e", "#c2410c", "#1d4ed8")
INK, PALE = "#334155", "#fde8e8"
WIDTH, HEIGHT, GAP, TOP, COLUMNS = 250, 80, 30, 24, 3
BAR = 15


class Graph(NamedTuple):
    """A graph: its title, the unit of its axis, and its queries by their names."""

    title: str
    unit: str
    queries: dict[str, str]
    least: float  # the lowest top of its axis, so that noise stays small


GRAPHS = (
    Graph(
        "Answers per second",
        "",
        {
            "2xx": f'sum(rate({REQUESTS}_count{{http_response_status_code=~"2.."}}{RATE}))',
            "5xx": f'sum(rate({REQUESTS}_count{{http_response_status_code=~"5.."}}{RATE}))',
        },
        1,
    ),
    Graph(
        "Time to answer, p95",
        " s",
        {"": f"histogram_quantile(0.95, sum by (le) (rate({REQUESTS}_bucket{RATE})))"},
        1,
    ),
    Graph("Requests in flight", "", {"": "http_server_active_requests"}, 40),
    Graph(
        "Event loop late, p99",
        " s",
        {"": f"histogram_quantile(0.99, sum by (le) (rate(event_loop_lag_seconds_bucket{RATE})))"},
        1,
    ),
    Graph(
        "Upstream calls per second",
        "",
        {
            "good": f'sum(rate(upstream_call_duration_seconds_count{{error_type=""}}{RATE}))',
            "failed": f'sum(rate(upstream_call_duration_seconds_count{{error_type!=""}}{RATE}))',
        },
        1,
    ),
    Graph("Memory", " MB", {"": "process_resident_memory_bytes / 1e6"}, 200),
)


class Drawing(NamedTuple):
    """The values of every graph's lines by second, and the times of each alert."""

    lines: list[dict[str, list[tuple[float, float]]]]
    alerts: dict[str, list[tuple[float, float]]]
    incident: tuple[float, float]
    seconds: float


def drawing(prometheus: Prometheus, seen: Seen, end: float) -> Drawing:
    """The data of Prometheus about the time of an incident."""
    start = seen.began - BEFORE

    def values(series: dict[str, Any]) -> list[tuple[float, float]]:
        pairs = ((moment - start, float(value)) for moment, value in series["values"])
        return [(moment, value) for moment, value in pairs if value == value]  # noqa: PLR0124 - NaN

    lines = [
        {
            name: [
                pair for series in prometheus.between(query, start, end) for pair in values(series)
            ]
            for name, query in graph.queries.items()
        }
        for graph in GRAPHS
    ]
    firing = prometheus.between('max by (alertname) (ALERTS{alertstate="firing"})', start, end)
    alerts = {series["metric"]["alertname"]: values(series) for series in firing}
    began, ended = seen.began - start, seen.ended - start
    return Drawing(lines, dict(sorted(alerts.items())), (began, ended), end - start)


def svg(shown: Drawing) -> str:
    """The picture."""
    width = COLUMNS * (WIDTH + GAP) + GAP
    rows = -(-len(GRAPHS) // COLUMNS)
    bars = rows * (HEIGHT + TOP + GAP) + GAP
    height = bars + BAR * len(shown.alerts) + GAP // 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        f'<g font-family="sans-serif" font-size="11" fill="{INK}">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for number, graph in enumerate(GRAPHS):
        down, across = divmod(number, COLUMNS)
        x, y = GAP + across * (WIDTH + GAP), TOP + down * (HEIGHT + TOP + GAP)
        parts += [f'<g transform="translate({x} {y})">', *_graph(graph, shown, number), "</g>"]
    parts += _bars(shown, bars)
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _graph(graph: Graph, shown: Drawing, number: int) -> Iterator[str]:
    lines = shown.lines[number]
    most = max((value for line in lines.values() for _, value in line), default=0.0)
    top = max(most, graph.least) * 1.05
    began, ended = (_x(moment, shown) for moment in shown.incident)
    yield f'<rect x="{began}" width="{ended - began:.0f}" height="{HEIGHT}" fill="{PALE}"/>'
    yield f'<path d="M0 {HEIGHT}H{WIDTH}M0 0V{HEIGHT}" stroke="#cbd5e1" fill="none"/>'
    yield f'<text y="-9" font-weight="bold">{escape(graph.title)}</text>'
    yield f'<text x="{WIDTH}" y="-9" text-anchor="end">at most {most:.3g}{graph.unit}</text>'
    for place, (name, line) in enumerate(lines.items()):
        colour = COLOURS[place]
        for stretch in _stretches(line):
            points = " ".join(f"{_x(m, shown)},{HEIGHT * (1 - v / top):.0f}" for m, v in stretch)
            yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        if name:
            yield f'<text x="{5 + 40 * place}" y="11" fill="{colour}">{name}</text>'


def _bars(shown: Drawing, top: int) -> Iterator[str]:
    """A line for each alert, thick while it fires."""
    left = GAP + 200
    scale = (COLUMNS * (WIDTH + GAP) - GAP - 200) / WIDTH
    yield f'<text x="{GAP}" y="{top - 8}" font-weight="bold">Alerts that fire</text>'
    began, ended = (_x(moment, shown) * scale for moment in shown.incident)
    height = BAR * len(shown.alerts)
    yield (
        f'<rect x="{left + began:.0f}" y="{top}" width="{ended - began:.0f}" height="{height}"'
        f' fill="{PALE}"/>'
    )
    for number, (name, firing) in enumerate(shown.alerts.items()):
        y = top + BAR * number
        yield f'<text x="{GAP}" y="{y + 11}">{name}</text>'
        for stretch in _stretches(firing):
            start, end = _x(stretch[0][0], shown) * scale, _x(stretch[-1][0] + 1, shown) * scale
            yield (
                f'<rect x="{left + start:.0f}" y="{y + 3}" width="{end - start:.0f}"'
                f' height="{BAR - 6}" fill="{COLOURS[1]}"/>'
            )


def _stretches(line: Sequence[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """The parts of a line that have a value for each second."""
    stretch: list[tuple[float, float]] = []
    for moment, value in line:
        if stretch and moment - stretch[-1][0] > 1.5:  # noqa: PLR2004 - seconds
            yield stretch
            stretch = []
        stretch.append((moment, value))
    if stretch:
        yield stretch


def _x(moment: float, shown: Drawing) -> int:
    return round(min(moment / shown.seconds, 1) * WIDTH)


async def _pictured(project: Path, name: str) -> str:
    incident = INCIDENTS[name]
    async with watched(project, incident.settings) as (scene, prometheus):
        seen = await run(incident, scene, prometheus, before=BEFORE, seconds=INCIDENT)
        await asyncio.sleep(AFTER)
        return svg(drawing(prometheus, seen, seen.ended + AFTER))


async def main(names: Sequence[str]) -> None:
    """Draws these incidents, or all."""
    project = baked_service()
    FOLDER.mkdir(exist_ok=True)
    for name in names or SHOWN:
        picture = await _pictured(project, name)
        path = FOLDER / f"incident-{name}.svg"
        path.write_text(picture, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {len(picture):,} bytes")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
