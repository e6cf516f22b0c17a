"""Draws the measurements of whole services, for `plot.py`."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from . import observing, whole

Results = Mapping[str, Any]
Row = Mapping[str, Any]

COLOURS = {
    "service": "#c2410c",
    "engine": "#f59e0b",
    "fastapi": "#0f766e",
    "fastapi-aiohttp": "#5eada5",
    "fastapi-template": "#64748b",
}
# The works are below the panels, so there is no room for more.
WORKS = {"livez": "/livez", "noop": "no-op", "sync": "sync", "json": "JSON", "prices": "/prices"}


def figures(results: Results) -> dict[str, Figure]:
    """A figure for each measured part, by the name of its file."""
    found = {}
    if "service_medians" in results:
        found["service"] = service(results["service_medians"])
    if "observing_medians" in results:
        found["observing"] = cost_of_seeing(results["observing_medians"])
    return found


def service(rows: Sequence[Row]) -> Figure:
    """Requests per second of processor time of each peer, as multiples of the whole service's."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    found = {(row["work"], row["connections"], row["peer"]): row for row in rows}
    width = 0.8 / len(whole.LABELS)
    for axes, connections in zip(figure.subplots(1, 2), whole.CONNECTIONS, strict=True):
        for place, (peer, label) in enumerate(whole.LABELS.items()):
            points = [
                (number, found[work, connections, "service"], row)
                for number, work in enumerate(WORKS)
                if (row := found.get((work, connections, peer)))
            ]
            axes.bar(
                [number + (place - 2) * width for number, _, _ in points],
                [
                    ours["cpu_us_per_request"] / theirs["cpu_us_per_request"]
                    for _, ours, theirs in points
                ],
                width,
                color=COLOURS[peer],
                label=label.replace("`", ""),
            )
        axes.set_xticks(range(len(WORKS)), list(WORKS.values()))
        axes.grid(visible=False, axis="x")
        axes.set_title(f"Requests per processor time, {connections} connections")
        axes.set_ylabel("whole service = 1")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def cost_of_seeing(rows: Sequence[Row]) -> Figure:
    """The processor time of a request with metrics, traces and log lines, as bars."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots()
    labels = [observing.MODES[row["mode"]].label for row in rows]
    bars = axes.barh(labels, [row["cpu_us_per_request"] for row in rows], color="#c2410c")
    axes.bar_label(bars, fmt="{:,.0f}", padding=4)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_title("Processor time per request, in microseconds")
    return figure
