"""How counts and loads measured alone are processed: stages, Pythons and growth."""

import sys
from pathlib import Path

import pytest

from benchmarks import counting, growth, pythons, stages


def service_counts(target: str, whole: int) -> dict[str, float]:
    """Counts of a service whose duties take a hundred thousand instructions each."""
    return {f"{target} {absent}": whole - 100_000 * absent for absent in range(8)}


def test_the_stages_of_a_request_add_up_to_the_whole() -> None:
    counts = {"bare": 20e3, "engine": 120e3, "flask": 420e3}
    counts |= service_counts("livez", 1_200_000) | service_counts("prices", 4_000_000)

    table = stages.stages(counts)

    *parts, (last, *wholes) = table.rows
    assert (last, wholes) == ("all", ["1,200 (100 %)", "4,000 (100 %)"])
    for column, whole in ((1, 1200), (2, 4000)):
        assert whole == sum(int(part[column].split()[0].replace(",", "")) for part in parts)
    assert {"100 (8 %)"} == {part[1] for part in parts if part[0] in stages.DUTIES}


def test_every_removed_duty_has_a_row() -> None:
    source = (Path(stages.__file__).parent / "stage_requests.py").read_text(encoding="utf-8")

    taken = source.partition("\nDUTIES")[2].partition("\n}")[0]

    assert len(stages.DUTIES) == taken.count("\n    ")


def load(number: int, runtime: str, work: str, rate: float) -> pythons.Row:
    figures = {"requests_per_second": rate, "cpu_us_per_request": 1e6 / rate}
    return {"round": number, "runtime": runtime, "work": work} | figures


def test_a_python_is_compared_within_its_round() -> None:
    rows = [
        load(number, runtime, work, rate)
        for number, slow in ((1, 1), (2, 10), (3, 1))
        for runtime, rate in (("3.13, uvloop", 200 / slow), ("3.11, uvloop", 100 / slow))
        for work in pythons.WORKS
    ]

    table = pythons.compared(rows, "requests_per_second")

    first, second = table.rows
    assert first == ["3.11, uvloop", *["1.00 (1.00 to 1.00)"] * 3]
    assert second == ["3.13, uvloop", *["2.00 (2.00 to 2.00)"] * 3]


def test_growth_is_the_cost_per_item() -> None:
    rows = [
        {"peer": "template", "grows": "received", "size": 1000, "cost": 400.0},  # thousands
        {"peer": "template", "grows": "received", "size": 1_000_000, "cost": 800.0},
    ]

    assert growth.costs_of(rows, "received", "template") == {1000: 400.0, 1_000_000: 0.8}
    assert growth.table(rows).rows[0][-2:] == ["1,000", "0.00"]


FAKE = """\
import json, pathlib, sys
folder = next(each for each in sys.argv if each.startswith("--log-file="))[11:-3]
for child, (name, number, count) in enumerate({counts}):
    pathlib.Path(folder, str(child)).write_text(f"==1== I   refs:      {{count:,}}\\n")
    print(json.dumps([name, number, child]))
"""


def test_the_instructions_of_the_start_are_subtracted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = [("a", counting.FEW, 10_000), ("a", counting.MANY, 30_000)]
    counts += [("b", counting.FEW, 5), ("b", counting.MANY, 5)]
    valgrind = tmp_path / "valgrind"
    valgrind.write_text(f"#!{sys.executable}\n{FAKE.format(counts=counts)}", encoding="utf-8")
    valgrind.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    found = counting.instructions("anything", cwd=tmp_path, env={})

    assert found == {"a": 20_000 / (counting.MANY - counting.FEW), "b": 0}


def test_counting_without_valgrind_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(counting.CountError, match="valgrind is missing"):
        counting.instructions("anything", cwd=tmp_path, env={})
