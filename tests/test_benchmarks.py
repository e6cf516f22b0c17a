"""How the benchmarks process their measurements; no test asserts a speed."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import against, bake, instructions, load, open_loop, peers, plan, run, summary
from benchmarks.faulty_upstream import Faults
from benchmarks.serving import HERE, BenchError, Tree

from .baking import ROOT

CLEAN = """\
Running 2s test @ http://127.0.0.1:8000/noop
  1 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     6.61ms    1.20ms  12.00ms   66.67%
    Req/Sec     7.50k   100.00     8.00k    70.00%
  Latency Distribution
     50%  950.00us
     75%    6.50ms
     90%    1.20s 
     99%    1.05m 
  15000 requests in 2.00s, 2.51MB read
Requests/sec:   7500.12
Transfer/sec:      1.25MB
"""  # noqa: W291 (wrk pads a unit of one letter)

FAILING = """\
Running 2s test @ http://127.0.0.1:8000/noop
  1 threads and 10 connections
  Latency Distribution
     50%    1.00ms
     75%    1.00ms
     90%    1.00ms
     99%    1.00ms
  90 requests in 2.00s, 2.51MB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 40
Requests/sec:     45.00
"""


def row(throughput: float, *, peer: str = "template", connections: int = 50) -> summary.Row:
    return {
        "work": "noop",
        "peer": peer,
        "connections": connections,
        "requests_per_second": throughput,
        "error_share": 0.0,
        "latency_ms": {"50": 1.0},
        "cpu_us_per_request": 1e6 / throughput,
    }


def test_every_unit_of_wrk_is_understood() -> None:
    parsed = load.parse(CLEAN)

    assert parsed.latency_ms == {"50": 0.95, "75": 6.5, "90": 1200.0, "99": 63_000.0}
    assert parsed.requests_per_second == 7500
    assert parsed.error_share == 0


def test_failed_requests_count_in_the_error_share_and_not_in_the_throughput() -> None:
    parsed = load.parse(FAILING)

    assert parsed.requests_per_second == 25
    assert parsed.error_share == 0.5


def test_a_load_without_any_answer_has_error_share_1_and_no_latency() -> None:
    parsed = load.parse("     50%    0.00us\n  0 requests in 2.00s, 0.00B read\n")

    assert parsed.error_share == 1
    assert parsed.latency_ms == {}


def test_output_that_is_not_of_wrk_is_refused() -> None:
    with pytest.raises(ValueError, match="no total"):
        load.parse("unable to connect to 127.0.0.1:8000 Connection refused")


def test_a_median_covers_the_rounds_of_one_number_of_connections() -> None:
    samples = [row(30.0), row(10.0), row(90.0), row(7.0, connections=400)]

    first, second = summary.medians(samples)

    assert (first["requests_per_second"], first["lowest"], first["highest"]) == (30, 10, 90)
    assert first["latency_ms"] == {"50": 1.0, "75": None, "90": None, "99": None}
    assert (second["connections"], second["requests_per_second"]) == (400, 7)


def test_a_ratio_compares_the_template_with_a_peer_and_checks_the_aim() -> None:
    rows = summary.medians([row(120.0), row(100.0, peer="quart"), row(240.0, peer="fastapi")])

    by_quart, by_fastapi = summary.ratios(rows, in_flight=[], goodput=[])

    assert (by_quart.value, by_quart.least, by_quart.reached) == (1.2, 1.15, True)
    assert (by_fastapi.value, by_fastapi.reached) == (0.5, None)


@pytest.mark.parametrize("quick", [True, False])
def test_a_plan_names_known_peers_only(*, quick: bool) -> None:
    chosen = plan.plan(quick=quick)

    named = {*chosen.recipes, *chosen.in_flight}.union(*chosen.loads.values())
    assert named == set(peers.PEERS)
    assert set(chosen.goodput) == set(peers.CALLERS)


def answer(status: str, *, prices: int = 0, failed: int = 0) -> bytes:
    body = {
        "prices": {str(number): 1 for number in range(prices)},
        "failed": {str(number): "" for number in range(prices, prices + failed)},
    }
    return f"HTTP/1.1 {status}\r\nx: 1\r\n\r\n{json.dumps(body)}".encode()


@pytest.mark.parametrize(
    ("expected", "reply"),
    [
        ("complete", answer("200 OK", prices=3)),
        ("partial", answer("200 OK", prices=1, failed=2)),
        ("failed", answer("200 OK", failed=3)),
        ("failed", answer("200 OK", prices=2)),
        ("failed", answer("502 Bad Gateway", prices=3)),
        ("failed", answer("200 OK", prices=3)[:-1]),
        ("failed", b""),
    ],
)
def test_an_answer_is_complete_partial_or_failed(expected: str, reply: bytes) -> None:
    assert expected == open_loop.outcome(reply)


def test_only_complete_and_partial_answers_have_a_latency() -> None:
    summed_up = open_loop.summed_up(
        [("complete", 0.1), ("partial", 0.1), ("failed", 9.0), ("late", 9.0)]
    )

    assert [summed_up[outcome] for outcome in ("complete", "partial", "failed", "late")] == [
        1,
        1,
        1,
        1,
    ]
    assert summed_up["latency_ms"] == {"50": 100, "90": 100, "99": 100}


def test_a_seed_fixes_which_upstream_calls_fail_and_each_kind_fails_equally_often() -> None:
    faults, same = Faults(seed=3), Faults(seed=3)
    faults.fail(0.3)
    same.fail(0.3)

    kinds = [faults.next() for _ in range(10_000)]

    assert kinds == [same.next() for _ in range(10_000)]
    assert faults.received == 10_000
    for kind in ("refuse", "reset", "hang"):
        assert pytest.approx(1000, rel=0.1) == kinds.count(kind)


def test_a_missed_aim_of_goodput_is_shown_as_missed() -> None:
    rows = [
        {"peer": peer, "failing_share": share, "answered_share": answered, "upstream_load": 1.2017}
        for peer, share, answered in [
            ("template", 0.1, 1.0),
            ("template", 0.3, 0.995),
            ("fastapi", 0.3, 0.344),
        ]
    ]

    answered, load = summary.ratios([], in_flight=[], goodput=rows)

    assert (answered.value, answered.reached) == (99.5, True)
    assert (load.value, load.reached) == (120.17, False)


OTHER = Tree(Path("/other"), Path("/other/src"))


def round_of(number: int, *, ours: float, theirs: float) -> list[against.Row]:
    shared = {"work": "noop", "connections": 50, "round": number}
    return [
        {**shared, "tree": tree, "requests_per_second": rate, "cpu_us_per_request": 1e6 / rate}
        for tree, rate in (("ours", ours), ("theirs", theirs))
    ]


def test_two_trees_are_compared_round_by_round() -> None:
    rows = [
        *round_of(1, ours=100, theirs=100),
        *round_of(2, ours=10, theirs=20),  # a slow round
        *round_of(3, ours=330, theirs=300),
    ]

    throughput, cost = against.ratios(rows, "ours", "theirs")

    assert [throughput[name] for name in ("median", "lowest", "highest")] == [1.0, 0.5, 1.1]
    assert (cost["figure"], cost["median"]) == ("processor time per request", 1.0)


def test_two_trees_run_every_work_and_alternate_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    def loads_of_one(bench: run.Bench, work: str, name: str, _: int) -> Iterator[run.Row]:
        done.append((work, bench.tree))
        yield from ({"connections": count} for count in bench.plan.loads[work][name])

    monkeypatch.setattr(against, "loads_of_one", loads_of_one)
    monkeypatch.setattr(against, "upstream_on", lambda _: nullcontext(1))
    monkeypatch.setattr(against, "Cores", lambda: SimpleNamespace(upstream=0))

    rows = list(against.loads({"ours": HERE, "theirs": OTHER}, quick=False))

    assert {row["work"] for row in rows} == {"noop", "sync", "wait", "calls"}
    each = len(done) // against.ROUNDS
    first, second = done[:each], done[each : 2 * each]
    assert against.ROUNDS >= 5
    assert [tree for work, tree in first if work == "noop"] == [OTHER, HERE]
    assert [tree for work, tree in second if work == "noop"] == [HERE, OTHER]
    assert sorted(first) == sorted(second)


@pytest.mark.parametrize("libraries", [True, False])
def test_a_commit_is_baked_only_if_it_has_no_libraries(
    *, libraries: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = tmp_path / "template-abc"
    sources = template / "{{cookiecutter.project_slug}}" / "src"
    (sources / ("flask_asgi" if libraries else "{{cookiecutter.package_name}}")).mkdir(parents=True)
    monkeypatch.setattr(bake, "exported", lambda _: template)
    monkeypatch.setattr(bake, "_bake", lambda _, output, *__: output / "price-service")

    tree = bake.tree_of("abc")

    baked = tmp_path / "template-abc-baked" / "price-service" / "src"
    assert tree == Tree(template, sources if libraries else baked)


def test_an_unknown_commit_is_refused() -> None:
    with pytest.raises(BenchError, match="No such commit"):
        bake.exported("0" * 40)


def test_only_the_extended_application_imports_a_service() -> None:
    for path in sorted((ROOT / "benchmarks" / "apps").glob("*.py")):
        imported = {
            alias.name if isinstance(node, ast.Import) else str(node.module)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        services = {name for name in imported if name.partition(".")[0] == "price_service"}
        assert bool(services) == (path.name == "extended.py"), (path, services)


def test_no_ops_need_no_server_and_leave_no_bytecode_in_the_template() -> None:
    env = instructions.environment(HERE)

    done = subprocess.run(
        [sys.executable, "-P", instructions.DRIVER, "3"], env=os.environ | env, check=False
    )

    assert done.returncode == 0
    assert list(HERE.sources.rglob("*.pyc")) == []
