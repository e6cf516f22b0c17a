"""`make bench AGAINST=COMMIT`: compares the working tree with another commit in one run.

Each tree serves with its own engine, client and benchmark applications, on the packages that this
tree locks. In every round both trees run every work, one after another and in alternating order, so
a slow moment of the machine affects both. Each round gives one ratio. The table shows the median,
the lowest and the highest ratio; these differ more on a busy machine.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from . import counting, instructions
from .bake import tree_of
from .plan import Plan
from .run import Bench, loads_of_one
from .serving import HERE, Cores, Tree, upstream_on

LOADS: Mapping[str, Mapping[str, Sequence[int]]] = {
    "noop": {"template": (50, 400)},
    "sync": {"template": (50,)},
    "wait": {"template": (400,)},
    "calls": {"template": (100,)},
}
ROUNDS = 7
FIGURES = {"requests_per_second": "throughput", "cpu_us_per_request": "processor time per request"}

Row = dict[str, Any]


def loads(trees: dict[str, Tree], *, quick: bool) -> Iterator[Row]:
    """Every load of every round, with the tree's name as `tree`."""
    plan = Plan(1 if quick else ROUNDS, LOADS, {}, (), {}, quick)
    cores = Cores()
    with upstream_on(cores.upstream) as upstream:
        for round_number in range(plan.rounds):
            for work in plan.loads:
                names = list(trees)
                for name in names if round_number % 2 else reversed(names):
                    bench = Bench(plan, cores, trees[name])
                    for row in loads_of_one(bench, work, "template", upstream):
                        yield {"tree": name, "work": work, "round": round_number + 1} | row


def ratios(rows: Sequence[Row], ours: str, theirs: str) -> Iterator[Row]:
    """The ratios of two trees for each work and number of connections: median, lowest, highest."""
    found = {(row["tree"], row["work"], row["connections"], row["round"]): row for row in rows}
    points = dict.fromkeys((row["work"], row["connections"]) for row in rows)
    rounds = sorted({row["round"] for row in rows})
    for work, connections in points:
        for figure, name in FIGURES.items():
            each = [
                found[ours, work, connections, number][figure]
                / found[theirs, work, connections, number][figure]
                for number in rounds
            ]
            yield {
                "work": work,
                "connections": connections,
                "figure": name,
                "median": statistics.median(each),
                "lowest": min(each),
                "highest": max(each),
            }


def print_table(console: Console, rows: Sequence[Row], theirs: str) -> None:
    """Prints the ratios."""
    table = Table(
        *("work", "connections", "figure", "median", "lowest", "highest"),
        title=f"This working tree, divided by {theirs}",
        box=SIMPLE_HEAD,
    )
    for row in rows:
        figures = (f"{row[name]:.3f}" for name in ("median", "lowest", "highest"))
        table.add_row(row["work"], str(row["connections"]), row["figure"], *figures)
    console.print(table)


def compare(console: Console, commit: str, *, quick: bool) -> None:
    """Measures the working tree and another commit, and prints the ratios.

    Raises:
        BenchError: the commit is unknown, or one of the two does not start.
    """
    trees = {"this tree": HERE, commit: tree_of(commit)}
    rows = []
    for row in loads(trees, quick=quick):
        rows.append(row)
        figures = " ".join(f"{name}={value}" for name, value in row.items())
        console.print(figures, markup=False, soft_wrap=True)
    print_table(console, list(ratios(rows, "this tree", commit)), commit)
    if not counting.available():
        console.print("valgrind is missing, so instructions are not counted.")
        return
    ours, theirs = (instructions.per_request(tree) for tree in trees.values())
    console.print(
        f"Instructions of a no-op request without a server: {ours:,.0f} and {theirs:,.0f}, a ratio"
        f" of {ours / theirs:.3f}."
    )
