"""`make bench`: measures every peer in one run, writes the results, draws them, prints ratios.

`make bench QUICK=1` takes seven minutes and one round, and leaves the published results alone.
`make bench ONLY=goodput` measures the goodput only, and keeps the other published figures; so do
`ONLY=client`, `ONLY=service`, `ONLY=observing`, and `make bench ONLY=hook,hooks` with these works.
`make bench ONLY=growth`, `pythons` and `stages` are three measurements outside the whole run.
`make bench AGAINST=COMMIT` compares the working tree with another commit, and publishes nothing.
"""

import functools
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from . import (
    against,
    client_cost,
    growth,
    machine,
    observing,
    pages,
    plot,
    pythons,
    run,
    stages,
    summary,
    whole,
)
from .peers import CALLERS, PEERS
from .plan import WORKS, Plan, plan
from .robustness import raise_open_files, show
from .serving import CACHE, BenchError, Cores

PUBLISHED = Path(__file__).parent / "results"
# Each measures, prints and publishes separately: see `alone`.
ALONE = {"growth": growth.measure, "pythons": pythons.measure, "stages": stages.measure}


def measure(console: Console, chosen: Plan) -> dict[str, Any]:
    """The results of a whole run.

    Raises:
        BenchError: a requirement is missing, or a peer does not start.
    """
    about = _about()
    raise_open_files()
    bench = run.Bench(chosen, Cores())
    recipe = _shown(console, "comparison with the recipe", run.recipe_comparison(bench))
    in_flight = _shown(console, "in flight", run.in_flight(bench))
    samples = _shown(console, "load", run.loads(bench))
    medians = summary.medians(samples)
    goodput = _shown(console, "goodput", run.goodput(bench))
    client = _shown(console, "client", client_cost.measured(bench.cores, quick=chosen.quick))
    services = _measured_services(console, chosen)
    return about | {
        "rounds": chosen.rounds,
        "quick": chosen.quick,
        "ratios": _ratios(medians, in_flight, goodput),
        "recipe": recipe,
        "in_flight": in_flight,
        "medians": medians,
        "samples": samples,
        "goodput": goodput,
        "client": client,
        **services,
    }


def measure_goodput(console: Console, chosen: Plan) -> dict[str, Any]:
    """The published results, with a new measurement of the goodput.

    Raises:
        BenchError: when the others are of another machine or other versions, and as in `measure`.
    """
    published = _published()
    bench = run.Bench(chosen, Cores())
    goodput = _shown(console, "goodput", run.goodput(bench))
    ratios = _ratios(published["medians"], published["in_flight"], goodput)
    return published | {"ratios": ratios, "goodput": goodput}


def measure_client(console: Console, chosen: Plan) -> dict[str, Any]:
    """The published results, with a new measurement of the cost of a call.

    Raises:
        BenchError: when the others are of another machine or other versions, and as in `measure`.
    """
    published = _published()
    rows = client_cost.measured(Cores(), quick=chosen.quick)
    return published | {"client": _shown(console, "client", rows)}


def measure_works(works: Sequence[str], console: Console, chosen: Plan) -> dict[str, Any]:
    """The published results, with a new measurement of these works.

    Raises:
        BenchError: when the others are of another machine or other versions, and as in `measure`.
    """
    published = _published()
    raise_open_files()
    loads = {work: chosen.loads[work] for work in works}
    bench = run.Bench(chosen._replace(loads=loads), Cores())
    measured = _shown(console, "load", run.loads(bench))
    samples = [row for row in published["samples"] if row["work"] not in works] + measured
    medians = summary.medians(samples)
    ratios = _ratios(medians, published["in_flight"], published["goodput"])
    return published | {"ratios": ratios, "medians": medians, "samples": samples}


def measure_services(
    console: Console, chosen: Plan, names: Sequence[str] = ("service", "observing")
) -> dict[str, Any]:
    """The published results, with a new measurement of these: `service`, `observing`.

    Raises:
        BenchError: as in `measure_goodput`.
    """
    published = _published()
    raise_open_files()
    return published | _measured_services(console, chosen, names)


def _measured_services(
    console: Console, chosen: Plan, names: Sequence[str] = ("service", "observing")
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "service" in names:
        rows = _shown(console, "service", whole.samples(quick=chosen.quick))
        found |= whole.results(rows)
    if "observing" in names:
        rows = _shown(console, "observing", observing.samples(quick=chosen.quick))
        modes = observing.instructions_of_modes(quick=chosen.quick)
        found |= observing.results(rows, _shown(console, "instructions", modes))
    return found


def _published() -> dict[str, Any]:
    about = _about()
    published: dict[str, Any] = json.loads((PUBLISHED / "results.json").read_text(encoding="utf-8"))
    versions = published["versions"].items()
    if about["machine"] != published["machine"] or not about["versions"].items() <= versions:
        message = "The other figures are of another machine or other versions. Leave out ONLY."
        raise BenchError(message)
    return published


def _chosen_by(only: str) -> Callable[[Console, Plan], dict[str, Any]]:
    if not only:
        return measure
    alone: dict[str, Callable[[Console, Plan], dict[str, Any]]] = {
        "goodput": measure_goodput,
        "client": measure_client,
        "service": functools.partial(measure_services, names=["service"]),
        "observing": functools.partial(measure_services, names=["observing"]),
    }
    if only in alone:
        return alone[only]
    works = only.split(",")
    if unknown := [work for work in works if work not in WORKS]:
        known = ", ".join((*alone, *ALONE, *WORKS))
        message = f"ONLY={unknown[0]} is not known; accepted: {known}."
        raise BenchError(message)
    return functools.partial(measure_works, works)


def _about() -> dict[str, Any]:
    return {"machine": machine.machine(), "versions": machine.versions()}


def _ratios(*measured: list[run.Row]) -> list[run.Row]:
    return [ratio._asdict() | {"reached": ratio.reached} for ratio in summary.ratios(*measured)]


def _shown(console: Console, what: str, rows: Iterable[run.Row]) -> list[run.Row]:
    kept = []
    for row in rows:
        kept.append(row)
        figures = " ".join(f"{name}={value}" for name, value in row.items())
        console.print(f"{what}: {figures}", markup=False, soft_wrap=True)
    return kept


def as_text(results: dict[str, Any]) -> str:
    """The results as JSON, with one measurement on a line."""
    parts = []
    for name, value in results.items():
        text = json.dumps(value)
        if isinstance(value, list):
            text = "[\n" + ",\n".join(f"    {json.dumps(row)}" for row in value) + "\n  ]"
        parts.append(f"  {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def print_tables(console: Console, results: dict[str, Any]) -> None:
    """Prints the comparison with the recipe, every median, the goodput and every ratio."""
    table = Table(
        "one worker",
        *("10 x 0.2 s", "kept alive", "errors", "inside of 100", "threads"),
        title="Beside the published recipe",
        box=SIMPLE_HEAD,
    )
    for row in results["recipe"]:
        table.add_row(
            PEERS[row["peer"]].label,
            f"{row['ten_waits_of_200_ms_seconds']:.2f} s",
            *(f"{row[f'kept_alive_{name}']:,}" for name in ("requests", "errors")),
            *(str(row[f"{name}_of_100"]) for name in ("inside", "threads")),
        )
    console.print(table)
    table = Table(
        "work", "peer", "at", "req/s", "p50 ms", "p99 ms", "errors", "CPU us", box=SIMPLE_HEAD
    )
    for row in results["medians"]:
        latency = row["latency_ms"]
        table.add_row(
            *(row["work"], PEERS[row["peer"]].label, str(row["connections"])),
            f"{row['requests_per_second']:,.0f}",
            *(_figure(latency[percentile]) for percentile in ("50", "99")),
            f"{row['error_share']:.0%}",
            _figure(row["cpu_us_per_request"]),
        )
    console.print(table)
    console.print(_goodput_table(results["goodput"]))
    table = Table("this template", "ratio", "aim", "", title="Aims", box=SIMPLE_HEAD)
    for row in results["ratios"]:
        aims = [("at least", row["least"]), ("at most", row["most"])]
        table.add_row(
            row["what"],
            _figure(row["value"]),
            ", ".join(f"{word} {aim:g}" for word, aim in aims if aim is not None),
            {True: "✓", False: "✗", None: ""}[row["reached"]],
        )
    console.print(table)
    for part in pages.tables(results):
        show(part)


def _goodput_table(rows: Iterable[run.Row]) -> Table:
    table = Table(
        *("calls failing", "caller", "answered in time", "complete", "upstream load", "p99 ms"),
        title="While upstream calls fail",
        box=SIMPLE_HEAD,
    )
    for row in rows:
        shares = ("answered_share", "complete_share")
        table.add_row(
            *(f"{row['failing_share']:.0%}", CALLERS[row["peer"]].label),
            *(f"{row[share]:.1%}" for share in shares),
            *(f"{row['upstream_load']:.3f}", _figure(row["latency_ms"]["99"])),
        )
    return table


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def main() -> int:
    """Returns the exit code: 0 if every measurement succeeded, whatever the figures."""
    console = Console(highlight=False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # this also stops the servers
    chosen = plan(quick=os.environ.get("QUICK", "") not in {"", "0"})
    folder = CACHE / "quick" if chosen.quick else PUBLISHED
    start = time.monotonic()
    try:
        if commit := os.environ.get("AGAINST", ""):
            raise_open_files()
            against.compare(console, commit, quick=chosen.quick)
            return 0
        if (only := os.environ.get("ONLY", "")) in ALONE:
            raise_open_files()
            ALONE[only](console, quick=chosen.quick)
            return 0
        results = _chosen_by(only)(console, chosen)
    except BenchError as error:
        console.print(str(error), markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped.")
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(as_text(results), encoding="utf-8")
    plot.draw(results, folder)
    if not chosen.quick:
        pages.write(results)
    print_tables(console, results)
    console.print(f"Took {time.monotonic() - start:.0f} s. Results and plots: {folder.name}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
