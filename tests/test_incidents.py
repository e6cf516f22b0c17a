"""A real Prometheus scrapes a real service in incidents: exactly the right alerts fire."""

import asyncio
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from benchmarks.incident_plots import GRAPHS, Drawing, svg
from benchmarks.incidents import INCIDENTS, observed, shorter

from .baking import OLDEST, bake
from .uv import on_python, run

heavy = pytest.mark.heavy
needs_prometheus = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="not installed: prometheus"
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed default bake."""
    service = bake(tmp_path_factory.mktemp("service"))
    run("uv", "sync", "--locked", "--no-dev", cwd=service, env=on_python(OLDEST))
    return service


@heavy
@needs_prometheus
@pytest.mark.parametrize("name", INCIDENTS)
def test_an_incident_makes_its_alerts_fire_and_no_others(name: str, service: Path) -> None:
    incident = INCIDENTS[name]

    seen = asyncio.run(observed(service, incident))

    assert seen.before == set()
    assert incident.must - seen.fired == set()
    assert seen.fired - incident.must - incident.may == set()


def test_the_incidents_name_known_alerts_only(project: Path) -> None:
    rules = yaml.safe_load((project / "deploy/observability/rules.yaml").read_text())
    known = {rule.get("alert") for group in rules["groups"] for rule in group["rules"]}

    for incident in INCIDENTS.values():
        assert incident.must
        assert not incident.must & incident.may
        assert incident.must | incident.may <= known


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("rate(a[5m]) > 5", "rate(a[5s]) > 5"),
        ("increase(a[3d])", "increase(a[4320s])"),
        ("for: 2m", "for: 2s"),
        ("record: a:increase1h", "record: a:increase1h"),
    ],
)
def test_shorter_rules_change_windows_and_waits_only(rule: str, expected: str) -> None:
    assert shorter(rule) == expected


def test_every_window_and_wait_of_the_rules_becomes_shorter(project: Path) -> None:
    text = (project / "deploy/observability/rules.yaml").read_text(encoding="utf-8")

    before, after = yaml.safe_load(text), yaml.safe_load(shorter(text))
    waits = [rule["for"] for group in before["groups"] for rule in group["rules"] if "for" in rule]
    shorter_waits = [
        rule["for"] for group in after["groups"] for rule in group["rules"] if "for" in rule
    ]
    assert shorter_waits == [wait.replace("m", "s") for wait in waits]
    assert "[5m]" not in shorter(text)


def test_each_picture_of_the_page_on_observing_is_small_and_shown(project: Path) -> None:
    text = (project / "docs" / "observing.md").read_text(encoding="utf-8")
    shown = re.findall(r"^!\[.+\]\(images/(.+)\)$", text, re.MULTILINE)

    assert sorted(shown) == sorted(path.name for path in (project / "docs/images").iterdir())
    assert len(shown) == 5
    for name in shown:
        picture = (project / "docs/images" / name).read_bytes()
        assert ET.fromstring(picture).tag.endswith("svg")  # noqa: S314 - ours
        assert len(picture) < 10_000


def test_a_picture_shows_a_gap_for_missing_values() -> None:
    line = [(0.0, 1.0), (1.0, 2.0), (5.0, 3.0)]
    lines = [dict.fromkeys(graph.queries, line) for graph in GRAPHS]

    picture = svg(Drawing(lines, {"EventLoopLate": line}, (1.0, 4.0), 10.0))

    assert ET.fromstring(picture).tag.endswith("svg")  # noqa: S314 - ours
    assert picture.count("<polyline") == 2 * sum(len(graph.queries) for graph in GRAPHS)
    assert picture.count('height="9"') == 2  # the alert fired twice
