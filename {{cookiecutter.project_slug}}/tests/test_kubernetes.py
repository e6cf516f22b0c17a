"""The Kubernetes manifests match each other and the service."""

import re

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.settings import Settings, load_settings

from .serving import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
DEPLOYMENT = (KUBERNETES / "base" / "deployment.yaml").read_text(encoding="utf-8")

# How long the proxy in front keeps an idle connection, in seconds: 60 for ingress-nginx and AWS. If
# the service closes first, a request that the proxy is just sending fails.
PROXY_IDLE_SECONDS = 60

pytestmark = pytest.mark.usefixtures("clean_environment")


def numbers(pattern: str) -> list[int]:
    """Return the numbers in the Deployment that the pattern's group matches."""
    return [int(number) for number in re.findall(pattern, DEPLOYMENT)]


def environment(overlay: str) -> dict[str, str]:
    """Return the variables that an overlay and the base set."""
    folders = (KUBERNETES / "base", KUBERNETES / "overlays" / overlay)
    lines = "\n".join((folder / "settings.env").read_text(encoding="utf-8") for folder in folders)
    return dict(re.findall(r"^(\w+)=(.*)$", lines, re.MULTILINE))


@pytest.fixture(params=["development", "production"])
def overlay(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return the settings of an overlay, without the secrets that production also needs."""
    for name, value in environment(request.param).items():
        monkeypatch.setenv(name, value)
    return load_settings(environment="development")


@pytest.mark.parametrize("name", ["development", "production"])
def test_an_overlay_sets_known_settings_only(name: str) -> None:
    assert {setting.lower() for setting in environment(name)} <= set(Settings.variables())


def test_the_pod_listens_on_its_container_ports(overlay: Settings) -> None:
    assert [overlay.port, overlay.metrics_port] == numbers(r"containerPort: (\d+)")
    assert overlay.web_concurrency == 1  # replicas, not workers


def test_the_probes_request_routes(app: Flask) -> None:
    paths = re.findall(r"path: (/\S+)", DEPLOYMENT)

    assert len(paths) == 3
    assert set(paths) <= {rule.rule for rule in app.url_map.iter_rules()}


def test_the_grace_period_of_a_pod_covers_a_stop(overlay: Settings) -> None:
    (pre_stop,) = numbers(r"preStop:[^:]*\n +sleep:\n +seconds: (\d+)")
    (grace_period,) = numbers(r"terminationGracePeriodSeconds: (\d+)")

    # The grace period counts twice: for requests, and then for their background tasks.
    stop = overlay.shutdown_delay_seconds + 2 * overlay.shutdown_grace_seconds
    assert pre_stop + stop < grace_period


def test_a_stop_waits_for_the_longest_request(overlay: Settings) -> None:
    assert overlay.request_timeout_seconds <= overlay.shutdown_grace_seconds


def test_the_service_keeps_idle_connections_longer_than_the_proxy(overlay: Settings) -> None:
    assert overlay.keep_alive_seconds > PROXY_IDLE_SECONDS
