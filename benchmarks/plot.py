"""Draws results as SVG: `python -m benchmarks.plot` draws the published results again."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from . import service_plots
from .peers import CALLERS, PEERS
from .summary import MANY_ERRORS

COLOURS = {
    "template": "#c2410c",
    "fastapi": "#0f766e",
    "quart": "#1d4ed8",
    "template-hedged": "#f59e0b",
    "fastapi-partial": "#7c3aed",
    "fastapi-tries": "#64748b",
    "fastapi-stock": "#5eada5",
    "fastapi-raised": "#5eada5",
    "pool": "#7c3aed",
    "a2wsgi": "#a16207",
    "gthread": "#64748b",
    "recipe": "#be185d",
    "recipe-context": "#be185d",
}
INK = "#334155"
STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#cbd5e1",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "font.family": "sans-serif",
    "font.size": 10,
    "grid.color": "#e2e8f0",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: small, sharp, and can be searched
    "svg.hashsalt": "bench",  # the same results give the same bytes
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}

TITLES = {"noop": "Async view that does nothing", "wait": "Async view that waits 50 ms"}

Row = dict[str, Any]


def draw(results: dict[str, Any], folder: Path) -> None:
    """Draws every plot into this folder."""
    with mpl.rc_context(STYLE):
        for name, figure in {
            "throughput": throughput(results["medians"]),
            "latency": latency(results["medians"]),
            "in-flight": in_flight(results["in_flight"]),
            "calls": calls(results["medians"]),
            "goodput": goodput(results["goodput"]),
        }.items():
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
        for name, figure in service_plots.figures(results).items():
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})


def throughput(medians: Sequence[Row]) -> Figure:
    """Requests per second against connections."""
    figure, panels = _panels()
    for axes, (work, title) in zip(panels, TITLES.items(), strict=True):
        for peer in ("template", "fastapi", "quart", "pool", "a2wsgi", "gthread", "recipe"):
            rows = _rows(medians, work, peer)
            _line(axes, peer, _connections(rows), [row["requests_per_second"] for row in rows])
            _mark_failures(axes, rows)
        _finish(axes, title, "connections", "requests per second")
        axes.set_ylim(bottom=0)
    _legend(figure, panels)
    return figure


def _mark_failures(axes: Axes, rows: Sequence[Row]) -> None:
    failing = [row for row in rows if row["error_share"] > MANY_ERRORS]
    rates = [row["requests_per_second"] for row in failing]
    if failing:
        label = f"more than {MANY_ERRORS:.0%} errors"
        axes.plot(_connections(failing), rates, "x", color="#dc2626", markersize=9, label=label)


def latency(medians: Sequence[Row]) -> Figure:
    """The median and the 99th percentile of latency against connections."""
    figure, panels = _panels()
    for axes, (work, title) in zip(panels, TITLES.items(), strict=True):
        for peer in ("template", "fastapi", "quart", "pool"):
            rows = _rows(medians, work, peer)
            for percentile, style in (("50", "-"), ("99", ":")):
                values = [row["latency_ms"][percentile] for row in rows]
                label = None if percentile == "50" else ""
                _line(axes, peer, _connections(rows), values, style=style, label=label)
        _finish(axes, f"{title} (p50 —, p99 ···)", "connections", "milliseconds")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    _legend(figure, panels)
    return figure


def in_flight(rows: Sequence[Row]) -> Figure:
    """Memory and threads against requests in flight."""
    figure, panels = _panels()
    for peer in ("template", "fastapi", "quart", "recipe-context"):
        own = [row for row in rows if row["peer"] == peer]
        counts = [row["requests"] for row in own]
        _line(panels[0], peer, counts, [row["memory_peak"] / 1e6 for row in own])
        _line(panels[1], peer, counts, [row["threads"] for row in own])
    _finish(panels[0], "Memory of one worker", "requests in flight", "megabytes, at the peak")
    _finish(
        panels[1], "Threads of one worker (three lines in one)", "requests in flight", "threads"
    )
    panels[0].set_ylim(bottom=0)
    panels[1].set_yscale("log")
    panels[1].yaxis.set_major_formatter(FuncFormatter(_plain))
    _legend(figure, panels)
    return figure


def calls(medians: Sequence[Row]) -> Figure:
    """Throughput of a view that calls an upstream three times, at 50 connections, as bars."""
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    axes = figure.subplots()
    rows = {
        peer: row["requests_per_second"]
        for peer in ("template", "fastapi", "quart", "fastapi-stock", "fastapi-raised")
        for row in _rows(medians, "calls", peer)
        if row["connections"] == 50  # noqa: PLR2004 (what the docstring says)
    }
    names = [
        PEERS[peer].label + (", same client" if peer in {"fastapi", "quart"} else "")
        for peer in rows
    ]
    bars = axes.barh(names, list(rows.values()), color=[COLOURS[peer] for peer in rows])
    axes.bar_label(bars, fmt="{:,.0f}", padding=4, color=INK)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_title("Requests per second, each gathering three upstream calls of 50 ms")
    return figure


def goodput(rows: Sequence[Row]) -> Figure:
    """The callers' answers and the upstream's load, against the share of calls that fail."""
    figure = Figure(figsize=(13, 4.4), layout="constrained")
    panels = list(figure.subplots(1, 3))
    figures = {
        "answered_share": ("Answered in time, in part or in full", "% of requests"),
        "complete_share": ("Answered in time and complete", "% of requests"),
        "upstream_load": ("Upstream load", "% of the calls that were offered"),
    }
    for axes, (name, (title, y_label)) in zip(panels, figures.items(), strict=True):
        for peer, caller in CALLERS.items():
            own = [row for row in rows if row["peer"] == peer]
            shares = [100 * row["failing_share"] for row in own]
            _line(axes, peer, shares, [100 * row[name] for row in own], label=caller.label)
        axes.set_title(title)
        axes.set_xlabel("% of upstream calls failing")
        axes.set_ylabel(y_label)
        axes.set_ylim(bottom=0)
    panels[2].axhline(120, color=INK, linewidth=1, linestyle=":", label="aim: at most 120 %")
    _legend(figure, panels)
    return figure


def _panels() -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    return figure, list(figure.subplots(1, 2))


def _line(  # noqa: PLR0913 (the parts of a line)
    axes: Axes,
    peer: str,
    x: Sequence[float],
    y: Sequence[float | None],
    *,
    style: str = "-",
    label: str | None = None,
) -> None:
    ours = peer == "template"
    axes.plot(
        x,
        [float("nan") if value is None else value for value in y],
        style,
        marker="o",
        markersize=5 if ours else 4,
        linewidth=2.6 if ours else 1.5,
        color=COLOURS[peer],
        zorder=3 if ours else 2,
        label=PEERS[peer].label if label is None else label,
    )


def _finish(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_xscale("log")
    ticks = sorted({float(x) for line in axes.lines for x in np.asarray(line.get_xdata())})
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))


def _plain(value: float, _position: object = None) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)


def _rows(medians: Sequence[Row], work: str, peer: str) -> list[Row]:
    rows = [row for row in medians if row["work"] == work and row["peer"] == peer]
    return sorted(rows, key=lambda row: int(row["connections"]))


def _connections(rows: Sequence[Row]) -> list[int]:
    return [row["connections"] for row in rows]


if __name__ == "__main__":
    published = Path(__file__).parent / "results"
    draw(json.loads((published / "results.json").read_text(encoding="utf-8")), published)
