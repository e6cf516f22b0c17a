"""How the benchmarks of whole services process their measurements."""

import json
import os
import subprocess
import sys
import tomllib
from typing import Any

import pytest
from asgiref.typing import ASGI3Application
from fastapi import FastAPI

from benchmarks import instructions, observing, pages, robustness, service_plots, whole
from benchmarks.apps import undutiful, views
from benchmarks.apps.report import report
from benchmarks.serving import HERE
from tests.flask_asgi.asgi_client import http_scope

from .baking import ROOT
from .uv import run

ORDER = {"lines": [{"sku": f"SKU-{n:05}", "count": 3, "price": f"{n}.50"} for n in range(1, 45)]}


def sample(peer: str, number: int, rate: float, **more: float | dict[str, float]) -> whole.Row:
    return {
        "work": "prices",
        "connections": 50,
        "peer": peer,
        "round": number,
        "requests_per_second": rate,
        "cpu_us_per_request": 1e6 / rate,
        "error_share": 0.0,
        "latency_ms": {"99": 1.0},
        "load_core_share": 0.1,
    } | more


def test_services_are_compared_round_by_round_and_a_higher_ratio_is_better() -> None:
    rows = [
        *(sample("service", 1, 90), sample("fastapi-aiohttp", 1, 100)),
        *(sample("service", 2, 10), sample("fastapi-aiohttp", 2, 10)),  # a slow round
        *(sample("service", 3, 80), sample("fastapi-aiohttp", 3, 100)),
    ]

    throughput, cost = whole.ratios(rows)

    assert (throughput.value, throughput.least, throughput.reached) == (0.9, 0.9, True)
    assert (cost.value, cost.reached) == (0.9, True)
    assert throughput.what.startswith("prices, 50 connections")


@pytest.mark.parametrize(
    ("expected", "rate", "used"),
    [("yes", 95, 1e4), ("no", 80, 2e4), ("by one of both", 80, 1e4), ("by one of both", 95, 2e4)],
)
def test_an_aim_is_judged_by_throughput_and_by_processor_time(
    expected: str, rate: float, used: float
) -> None:
    rows = [sample("service", 1, rate, cpu_us_per_request=used), sample("fastapi-aiohttp", 1, 100)]

    *_, compared = whole.tables(whole.results(rows))

    assert [row[-1] for row in compared.rows] == [expected]


@pytest.mark.parametrize("failing", ["service", "fastapi-aiohttp"])
def test_a_service_with_failed_requests_reaches_no_aim(failing: str) -> None:
    rows = [
        sample(peer, number, 95, error_share=0.5 if (peer, number) == (failing, 2) else 0.0)
        for number in (1, 2, 3)
        for peer in ("service", "fastapi-aiohttp")
    ]

    results = whole.results(rows)

    assert [ratio["value"] for ratio in results["service_ratios"]] == [None, None]
    *_, compared = whole.tables(results)
    assert compared.rows[0][-1] == "no"


def test_a_table_says_how_many_requests_failed() -> None:
    rows = [sample("service", 1, 90, error_share=0.25), sample("engine", 1, 90, error_share=0.001)]

    throughput, *_ = whole.tables(whole.results(rows))

    [row] = [row for row in throughput.rows if row[0] == whole.WORKS["prices"].label][:1]
    assert row[2:4] == ("90 (25% failed)", "90")


def seen(mode: str, number: int, rate: float) -> observing.Row:
    return {
        "mode": mode,
        "round": number,
        "requests_per_second": rate,
        "cpu_us_per_request": 1e6 / rate,
    }


def test_each_mode_of_observing_is_compared_with_its_base_mode() -> None:
    rates = dict.fromkeys(observing.MODES, 100.0) | {"metrics": 96.0, "lines": 50.0, "tenth": 80.0}
    rows = [
        seen(mode, number, rate * slowness)
        for number, slowness in ((1, 1.0), (2, 0.1), (3, 0.7))
        for mode, rate in rates.items()
    ]
    counted = [{"mode": mode, "instructions": 1000} for mode in ("nothing", "metrics")]

    results = observing.results(rows, counted)

    found = {each["what"]: (each["value"], each["reached"]) for each in results["observing_ratios"]}
    assert found["metrics: processor time"] == (1.042, True)
    assert found["metrics: instructions"] == (1.0, None)
    assert found["traces, one in ten sampled: throughput, inverse"] == (1.25, False)
    assert found["a JSON line for each request: processor time"] == (2.0, None)
    [table] = observing.tables(results)
    assert len(table.rows) == len(observing.MODES)


def test_only_modes_with_sampling_export_traces() -> None:
    for mode in observing.MODES.values():
        env = observing._environment(mode, 4318)  # noqa: SLF001 - the variables of a mode
        assert ("OTEL_EXPORTER_OTLP_ENDPOINT" in env) == (mode.sampled is not None)
        assert "{free}" not in env.values()
        assert mode.base in observing.MODES


async def answer(app: ASGI3Application, work: whole.Work) -> tuple[int, Any]:
    """Return the status and the JSON with which an ASGI application answers a work."""
    body = json.dumps(ORDER).encode() if work.path == "/report" else b""
    scope = http_scope(
        work.path,
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        method="POST" if body else "GET",
    )
    sent: list[Any] = []

    async def receive() -> Any:  # noqa: ANN401 - an ASGI event
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(event: Any) -> None:  # noqa: ANN401 - the same
        sent.append(event)

    await app(scope, receive, send)  # type: ignore[arg-type] # plain dicts
    content = b"".join(event.get("body", b"") for event in sent)
    return sent[0]["status"], json.loads(content)


@pytest.mark.anyio
@pytest.mark.parametrize("name", [name for name in whole.WORKS if name != "prices"])
async def test_flask_and_fastapi_give_the_same_answer_to_every_work(name: str) -> None:
    app: Any = FastAPI()
    app.include_router(views.router)

    by_flask = await answer(undutiful.asgi, whole.WORKS[name])

    assert by_flask == await answer(app, whole.WORKS[name])
    assert by_flask[0] == 200


def test_every_work_has_a_view_in_the_service() -> None:
    texts = [
        (ROOT / "benchmarks/apps/extended.py").read_text(encoding="utf-8"),
        *(
            path.read_text(encoding="utf-8")
            for path in (HERE.sources / "{{cookiecutter.package_name}}" / "views").glob("*.py")
        ),
    ]
    for work in whole.WORKS.values():
        assert any(f'("{work.path}")' in text for text in texts), work


def test_the_json_has_its_documented_size() -> None:
    assert 1900 < len(json.dumps(ORDER, separators=(",", ":"))) < 2300
    assert 9000 < len(json.dumps(report(ORDER), separators=(",", ":"))) < 11_000


def test_the_driver_takes_any_application_and_path() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            instructions.DRIVER,
            "3",
            "benchmarks.apps.undutiful:asgi",
            "/livez",
        ],
        env=os.environ | instructions.environment(HERE),
        check=False,
    )

    assert done.returncode == 0


def test_the_lock_file_of_the_fastapi_template_is_current_and_names_one_public_index() -> None:
    folder = ROOT / "benchmarks" / "fastapi_template"
    lock = tomllib.loads((folder / "uv.lock").read_text(encoding="utf-8"))

    run("uv", "lock", "--check", cwd=folder)
    indexes = {package["source"].get("registry") for package in lock["package"]} - {None}
    assert indexes == {"https://pypi.org/simple"}


def published() -> dict[str, Any]:
    text = (robustness.PUBLISHED / "results.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_page_shows_the_published_results_of_services() -> None:
    page = pages.PAGE.read_text(encoding="utf-8")

    assert page == pages.written(page, published())


def test_each_measured_part_has_a_plot() -> None:
    figures = service_plots.figures(published())

    assert set(figures) == {"service", "observing"}
    for name in figures:
        assert f"results/{name}.svg" in pages.PAGE.read_text(encoding="utf-8")
        assert (robustness.PUBLISHED / f"{name}.svg").is_file()
