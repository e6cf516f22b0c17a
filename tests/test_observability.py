"""The alerts and the dashboard are valid, and use metrics that a service exports."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from scripts import dashboard

from .baking import OLDEST, bake
from .promtool import Named, named, needs_promtool, promtool
from .serving import free_port, get, running
from .uv import on_python, run

FOLDER = "deploy/observability"
UNIT_TESTS = ("alerts_test.yaml", "budgets_test.yaml")

# Labels that Prometheus adds to a target, in Kubernetes too, and the labels of its own series.
OF_THE_TARGET = {"job", "instance", "namespace"}
OF_PROMETHEUS = {"up": OF_THE_TARGET, "ALERTS": {*OF_THE_TARGET, "alertstate"}}

# Metrics that no request of the test below causes, with the labels of their definition.
SELDOM = {"upstream_stream_failures": {"upstream", "error_type"}}

VARIABLES = {"$__rate_interval": "1m", "$job": "price-service", "$namespace": "", "$instance": ".*"}


@pytest.fixture(scope="module")
def folder(project: Path) -> Path:
    return project / FOLDER


def groups(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((folder / "rules.yaml").read_text())["groups"]
    return found


def rules(folder: Path) -> list[dict[str, Any]]:
    return [rule for group in groups(folder) for rule in group["rules"]]


def alerts(folder: Path) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules(folder) if "alert" in rule}


def recorded(folder: Path) -> dict[str, str]:
    return {rule["record"]: rule["expr"] for rule in rules(folder) if "record" in rule}


def board(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "grafana" / "dashboard.json").read_text())
    return found


def graphs(folder: Path) -> list[dict[str, Any]]:
    return [panel for panel in board(folder)["panels"] if panel["type"] != "row"]


def queries(folder: Path) -> list[str]:
    """Every query of the dashboard, with values for Grafana's variables."""
    found = [target["expr"] for graph in graphs(folder) for target in graph["targets"]]
    found += [each["expr"] for each in board(folder)["annotations"]["list"]]
    for name, value in VARIABLES.items():
        found = [query.replace(name, value) for query in found]
    return found


# Checks with promtool


@needs_promtool
def test_the_rules_and_the_configuration_are_valid(folder: Path) -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", "rules.yaml", cwd=folder)
    promtool("check", "config", "prometheus.yml", cwd=folder)


@needs_promtool
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.heavy] if "budgets" in name else [])
        for name in UNIT_TESTS
    ],
)
def test_each_alert_fires_when_it_should_and_not_otherwise(name: str, folder: Path) -> None:
    promtool("test", "rules", name, cwd=folder)


def moved_thresholds(text: str) -> Iterator[tuple[str, str]]:
    """Each change of one threshold by a factor of ten, with the changed rules."""
    _, start, _ = text.partition("-processes")
    for found in re.finditer(r"(?:[<>]=?|[*]) (0\.\d+|[1-9]\d*)\b", text):
        if found.start() > text.index(start):
            for factor in (0.1, 10):
                moved = f"{float(found[1]) * factor:g}"
                yield (
                    f"{found[0]} as {moved}, at {found.start()}",
                    text[: found.start(1)] + moved + text[found.end(1) :],
                )


@pytest.mark.heavy
@needs_promtool
def test_the_unit_tests_notice_a_threshold_that_is_moved(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "alerts_test.yaml", tmp_path)
    command = ["promtool", "test", "rules", "alerts_test.yaml"]

    noticed = {}
    for change, text in moved_thresholds((folder / "rules.yaml").read_text(encoding="utf-8")):
        (tmp_path / "rules.yaml").write_text(text, encoding="utf-8")
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        noticed[change] = done.returncode != 0

    assert len(noticed) >= 20
    assert [change for change, was in noticed.items() if not was] == []


@needs_promtool
def test_prometheus_can_read_every_query_of_the_dashboard(folder: Path, tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": query} for number, query in enumerate(queries(folder))
    ]
    groups = {"groups": [{"name": "dashboard", "rules": rules}]}
    (tmp_path / "queries.yaml").write_text(json.dumps(groups), encoding="utf-8")

    assert f"{len(rules)} rules found" in promtool("check", "rules", "queries.yaml", cwd=tmp_path)


# Checks of the files' texts


def test_every_alert_is_expected_by_a_unit_test(folder: Path) -> None:
    expected = {
        name
        for file in UNIT_TESTS
        for name in re.findall(r'alertname="(\w+)"', (folder / file).read_text())
    }

    assert expected == {*alerts(folder)}
    assert len(expected) >= 15


def test_every_alert_links_to_its_section_of_the_runbook(project: Path, folder: Path) -> None:
    document = (project / "docs" / "observing.md").read_text(encoding="utf-8")
    sections = {title.lower() for title in re.findall(r"^#+ (\w+)$", document, re.MULTILINE)}

    for name, alert in alerts(folder).items():
        address, _, section = alert["annotations"]["runbook_url"].partition("#")
        assert address.endswith("/blob/main/docs/observing.md")
        assert section == name.lower()
        assert section in sections
        assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
        assert alert["labels"].keys() == {"severity"}
        assert alert["labels"]["severity"] in {"page", "ticket"}


def test_the_page_on_deploying_names_every_alert_and_no_other(project: Path, folder: Path) -> None:
    text = (project / "docs" / "deploying.md").read_text(encoding="utf-8")
    _, _, section = text.partition("## What to alert on")
    section, _, _ = section.partition("\n## ")

    assert {*re.findall(r"`([A-Z][a-z]\w+)`", section)} == {*alerts(folder)}


def test_the_objectives_are_counted_alike_in_every_window(folder: Path) -> None:
    kinds: dict[str, set[str]] = {}
    for name, expression in recorded(folder).items():
        kind, _, window = name.partition(":increase")
        kinds.setdefault(kind, set()).add(expression.replace(window, "WINDOW"))

    assert len(recorded(folder)) == 3 * 7
    assert {len(expressions) for expressions in kinds.values()} == {1}


def test_the_memory_alert_uses_the_pods_limit(project: Path, folder: Path) -> None:
    deployment = (project / "deploy/kubernetes/base/deployment.yaml").read_text(encoding="utf-8")
    (limit,) = {*re.findall(r"memory: (\d+)Mi", deployment)}

    assert f"0.85 * {limit} * 1024 * 1024" in alerts(folder)["MemoryNearLimit"]["expr"]


def test_every_file_names_the_same_job(folder: Path, project: Path) -> None:
    config = yaml.safe_load((folder / "prometheus.yml").read_text())
    (job,) = (each["job_name"] for each in config["scrape_configs"])
    monitor = yaml.safe_load(
        (
            project / "deploy/kubernetes/components/prometheus-operator/servicemonitor.yaml"
        ).read_text()
    )
    (variable,) = (each for each in board(folder)["templating"]["list"] if each["name"] == "job")

    assert (
        job
        == variable["current"]["value"]
        == monitor["metadata"]["labels"][monitor["spec"]["jobLabel"]]
    )
    for rule in rules(folder):
        for selector in re.findall(r"[a-z_]+\{([^}]*)\}", rule["expr"]):
            assert f'job="{job}"' in selector


# The dashboard


def test_the_dashboard_equals_the_output_of_its_script() -> None:
    assert dashboard.text() == dashboard.FILE.read_text(encoding="utf-8")


def test_the_dashboard_s_panels_do_not_overlap(folder: Path) -> None:
    panels = board(folder)["panels"]
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(taken) == len({*taken})
    assert max(x for x, _ in taken) < 24  # Grafana's grid


def test_each_query_of_a_panel_has_a_name_and_a_legend_of_its_own_labels(folder: Path) -> None:
    for graph in graphs(folder):
        names = [target["refId"] for target in graph["targets"]]
        assert len({*names}) == len(names)
        for target in graph["targets"]:
            legend = {*re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])}
            grouped = {
                label.strip()
                for labels in re.findall(r"by \((.*?)\)", target["expr"])
                for label in labels.split(",")
            }
            assert legend <= (grouped or {"instance"}), target


def test_grafana_accepts_the_dashboard_of_the_longest_service_name(
    tmp_path: Path,
) -> None:
    found = board(bake(tmp_path, project_slug="a" * 50) / FOLDER)

    assert found["uid"] == "a" * 40  # the most that Grafana takes
    assert found["title"] == "a" * 50


# Against a running service


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The labels of each metric that a service exports, after requests of several kinds."""
    project = bake(tmp_path_factory.mktemp("scraped"))  # gets an environment
    env = on_python(OLDEST)
    run("uv", "sync", "--locked", "--no-dev", cwd=project, env=env)
    port, metrics_port = free_port(), free_port()
    settings = env | {
        "ENVIRONMENT": "development",
        "PORT": str(port),
        "METRICS_PORT": str(metrics_port),
        "PRICES__MAX_CONNECTIONS": "1",
    }
    program = project / ".venv" / "bin" / "python"
    with running(program, "-m", "price_service", cwd=project, env=settings, port=port):
        assert get(port, "/prices?symbol=AAPL&symbol=MSFT").status == 200
        assert get(port, "/nothing").status == 404
        text = get(metrics_port, "/metrics").body.decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        if not family.samples:
            for suffix in ("", "_total"):
                found[family.name + suffix] = SELDOM.get(family.name, set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def unknown(expressions: list[str], metrics: Mapping[str, set[str]]) -> Iterator[str]:
    """Metrics and labels that the expressions name and the service does not export."""
    for metric, labels in {each for expression in expressions for each in named(expression)}:
        if metric not in metrics:
            yield metric
        elif wrong := labels - metrics[metric] - OF_THE_TARGET:
            yield f"{metric}{sorted(wrong)}"


def test_every_metric_and_label_of_the_rules_is_exported(
    folder: Path, scraped: dict[str, set[str]]
) -> None:
    known = scraped | OF_PROMETHEUS | dict.fromkeys(recorded(folder), OF_THE_TARGET)

    assert [*unknown([rule["expr"] for rule in rules(folder)], known)] == []


def test_every_metric_and_label_of_the_dashboard_is_exported(
    folder: Path, scraped: dict[str, set[str]]
) -> None:
    known = scraped | OF_PROMETHEUS | dict.fromkeys(recorded(folder), OF_THE_TARGET)

    assert [*unknown(queries(folder), known)] == []


def test_the_autoscaler_s_metric_is_exported(project: Path, scraped: dict[str, set[str]]) -> None:
    component = project / "deploy/kubernetes/components/scale-on-requests"
    scaler = yaml.safe_load((component / "horizontalpodautoscaler.yaml").read_text())
    (asked,) = scaler["spec"]["metrics"]
    values = yaml.safe_load((component / "prometheus-adapter.yaml").read_text())
    (rule,) = values["rules"]["custom"]

    assert asked["pods"]["metric"]["name"] in scraped
    assert rule["seriesQuery"].startswith(asked["pods"]["metric"]["name"] + "{")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('up{job="a"} == 0', {Named("up", frozenset({"job"}))}),
        ("absent(a) or b", {Named("a", frozenset()), Named("b", frozenset())}),
        (
            'sum by (x, le) (rate(a_bucket{y=~"}", z!="b{c=\\"d\\"}"}[5m])) > 0.1',
            {Named("a_bucket", frozenset({"x", "le", "y", "z"}))},
        ),
        (
            "a:b:c / on (x) d offset 5m",
            {Named("a:b:c", frozenset({"x"})), Named("d", frozenset({"x"}))},
        ),
        ("time() - a", {Named("a", frozenset())}),
    ],
)
def test_the_names_in_an_expression_are_found(expression: str, expected: set[Named]) -> None:
    assert {*named(expression)} == expected


def test_unknown_metrics_and_labels_are_noticed() -> None:
    known = {"a": {"x"}}

    assert [*unknown(['sum by (x) (rate(a{job="b"}[5m])) > 0'], known)] == []
    assert [*unknown(["sum by (y) (a)"], known)] == ["a['y']"]
    assert [*unknown(['a{y="1"}'], known)] == ["a['y']"]
    assert [*unknown(["b"], known)] == ["b"]
