"""A real Prometheus scrapes a real service in incidents: the right alerts fire, and no other."""

import asyncio
import shutil
from pathlib import Path

import pytest
import yaml

from benchmarks.incidents import INCIDENTS, observed, shorter

from .baking import OLDEST
from .uv import on_python, run

heavy = pytest.mark.heavy
needs_prometheus = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="not installed: prometheus"
)


@pytest.fixture(scope="module")
def service(project: Path) -> Path:
    run("uv", "sync", "--locked", "--no-dev", cwd=project, env=on_python(OLDEST))
    return project


@heavy
@needs_prometheus
@pytest.mark.parametrize("name", INCIDENTS)
def test_an_incident_makes_its_alerts_fire_and_no_others(name: str, service: Path) -> None:
    incident = INCIDENTS[name]

    seen = asyncio.run(observed(service, incident))

    assert seen.before == set()
    assert incident.must - seen.fired == set()
    assert seen.fired - incident.must - incident.may == set()


def test_the_incidents_are_about_alerts_that_there_are(project: Path) -> None:
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
def test_only_windows_and_waits_become_shorter(rule: str, expected: str) -> None:
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
