"""Deployment files pass the tools that read them, and refer to each other correctly."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from .baking import CHOICES, bake
from .uv import run

TOOLS = Path(sys.executable).parent
OVERLAYS = ("development", "production")

# The first version in which a preStop hook can sleep without enabling a feature gate.
OLDEST_KUBERNETES = (1, 30)

CHECKOV = "checkov==3.3.30"
EXEMPT = {
    "CKV_K8S_15": "a tag is never moved, and pods must start while the registry is away",
    "CKV_K8S_35": "the service reads its secrets from the environment, as all its settings",
    "CKV_K8S_43": "the digest is known once the image is pushed: the release sets it",
}

# Measured with 1,000 requests in flight: see docs/decisions/deployment.md.
IDLE_MEGABYTES = 64
KILOBYTES_PER_REQUEST = 106

Manifests = dict[str, dict[str, Any]]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tools are programs for Linux")


def rendered(project: Path, overlay: str) -> str:
    """The manifests of an overlay, rendered by kustomize."""
    folder = f"deploy/kubernetes/overlays/{overlay}"
    return run(TOOLS / "kubectl", "kustomize", folder, cwd=project)


def by_kind(text: str) -> Manifests:
    """The manifests by kind; each kind occurs once."""
    documents = [*yaml.safe_load_all(text)]
    manifests = {document["kind"]: document for document in documents}
    assert len(documents) == len(manifests)
    return manifests


@pytest.fixture(scope="module", params=OVERLAYS)
def manifests(request: pytest.FixtureRequest, project: Path) -> Manifests:
    return by_kind(rendered(project, request.param))


@pytest.fixture(scope="module", params=[True, False], ids=["example", "plain"])
def baked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with all deployment files, with the example and without."""
    folder = tmp_path_factory.mktemp("baked")
    return bake(folder, deployment="all", include_example=request.param, github_username="Ann-B")


def test_the_dockerfile_has_no_fault(baked: Path) -> None:
    assert run(TOOLS / "hadolint", "--no-color", "Dockerfile", cwd=baked) == ""


def test_the_compose_files_fit_their_schema(baked: Path) -> None:
    files = sorted(path.name for path in baked.glob("compose*.yaml"))

    assert "compose.yaml" in files
    run(TOOLS / "check-jsonschema", "--builtin-schema=vendor.compose-spec", *files, cwd=baked)


def composed(project: Path) -> dict[str, dict[str, Any]]:
    """The containers of both compose files, by name; the service as in compose.yaml."""
    services: dict[str, dict[str, Any]] = {}
    for name in ("compose.override.yaml", "compose.yaml"):
        services |= yaml.safe_load((project / name).read_text())["services"]
    return services


def test_every_container_is_as_restricted_as_the_service(project: Path) -> None:
    services = composed(project)
    service, stub = services["service"], services["prices"]

    assert services.keys() == {"service", "prices", "prometheus", "grafana"}
    for name in ("build", "image", "tmpfs"):
        assert service[name] == stub[name]
    for each in services.values():
        for name in ("restart", "read_only", "cap_drop", "security_opt"):
            assert service[name] == each[name]
        limits = service["deploy"]["resources"]["limits"]
        assert set(limits) == set(each["deploy"]["resources"]["limits"])
        # Ports are published on this machine only.
        assert all(port.startswith("127.0.0.1:") for port in each.get("ports", ()))


def test_prometheus_and_grafana_start_only_when_they_are_asked_for(project: Path) -> None:
    profiles = {name: each.get("profiles") for name, each in composed(project).items()}

    asked = ["observability"]
    expected = {"service": None, "prices": None, "prometheus": asked, "grafana": asked}
    assert expected == profiles


def test_every_mounted_file_exists_and_is_used(project: Path) -> None:
    services = composed(project)
    mounted = {}
    for name in ("prometheus", "grafana"):
        assert re.fullmatch(r"docker\.io/[\w/]+:v?\d+\.\d+\.\d+", services[name]["image"])
        for volume in services[name]["volumes"]:
            source, target, mode = volume.split(":")
            assert (project / source).exists()
            assert mode == "ro"
            mounted[target] = project / source

    dashboards = mounted["/etc/grafana/provisioning"] / "dashboards" / "dashboard.yaml"
    (provider,) = yaml.safe_load(dashboards.read_text())["providers"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert provider["options"]["path"] == home
    assert home in mounted
    config = yaml.safe_load(mounted["/etc/prometheus/prometheus.yml"].read_text())
    assert all(f"/etc/prometheus/{name}" in mounted for name in config["rule_files"])
    sources = mounted["/etc/grafana/provisioning"] / "datasources" / "prometheus.yaml"
    (source,) = yaml.safe_load(sources.read_text())["datasources"]
    assert source["url"] == f"http://prometheus:{services['prometheus']['ports'][0].split(':')[-1]}"
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


@pytest.mark.parametrize(
    "versions",
    [
        pytest.param(slice(1), id="the oldest"),
        pytest.param(slice(-1, None), id="the newest"),
        # Reading the schemas of a version is slow.
        pytest.param(slice(1, -1), id="between them", marks=pytest.mark.heavy),
    ],
)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_manifests_fit_the_schemas_of_kubernetes(
    versions: slice, overlay: str, baked: Path
) -> None:
    from kubernetes_validate import utils  # noqa: PLC0415 (for Linux only)

    numbers = {tuple(map(int, version.split("."))): version for version in utils.all_versions()}
    supported = [numbers[each] for each in sorted(numbers) if each[:2] >= OLDEST_KUBERNETES]
    assert len(supported) >= 5
    for document in yaml.safe_load_all(rendered(baked, overlay)):
        for version in supported[versions]:
            utils.validate(document, version, strict=True)


@pytest.mark.heavy
def test_checkov_finds_only_the_exempt_faults(baked: Path, tmp_path: Path) -> None:
    for overlay in OVERLAYS:
        (tmp_path / f"{overlay}.yaml").write_text(rendered(baked, overlay), encoding="utf-8")
    (tmp_path / "Dockerfile").write_bytes((baked / "Dockerfile").read_bytes())

    done = subprocess.run(
        ["uv", "tool", "run", CHECKOV, "--directory", tmp_path, "--output", "json", "--quiet",
         "--framework", "kubernetes", "dockerfile", "--skip-download"],
        env=os.environ | {"UV_PYTHON": sys.executable}, stdout=subprocess.PIPE, check=False,
    )  # fmt: skip
    reports = json.loads(done.stdout)

    failed = [check for report in reports for check in report["results"]["failed_checks"]]
    assert {"kubernetes", "dockerfile"} == {report["check_type"] for report in reports}
    assert set(EXEMPT) == {check["check_id"] for check in failed}


def test_every_selector_matches_the_pods_of_the_deployment(manifests: Manifests) -> None:
    deployment = manifests["Deployment"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    pod = deployment["template"]["spec"]

    selectors = [
        deployment["selector"]["matchLabels"],
        manifests["Service"]["spec"]["selector"],
        manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        *(spread["labelSelector"]["matchLabels"] for spread in pod["topologySpreadConstraints"]),
    ]
    assert len(selectors) == 6
    assert all(labels == selector for selector in selectors)


def test_the_manifests_refer_to_existing_objects(manifests: Manifests) -> None:
    names = {kind: document["metadata"]["name"] for kind, document in manifests.items()}
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod["serviceAccountName"] == names["ServiceAccount"]
    assert container["envFrom"][0]["configMapRef"]["name"] == names["ConfigMap"]
    assert manifests["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"] == {
        "apiVersion": manifests["Deployment"]["apiVersion"],
        "kind": "Deployment",
        "name": names["Deployment"],
    }
    port, metrics = manifests["Service"]["spec"]["ports"]
    assert [each["targetPort"] for each in (port, metrics)] == ["http", "metrics"]
    assert [each["name"] for each in container["ports"]] == ["http", "metrics"]
    settings = manifests["ConfigMap"]["data"]
    numbers = [str(each["containerPort"]) for each in container["ports"]]
    assert numbers == [settings["PORT"], settings["METRICS_PORT"]]
    for rule in manifests.get("Ingress", {"spec": {"rules": []}})["spec"]["rules"]:
        (path,) = rule["http"]["paths"]
        backend = {"name": names["Service"], "port": {"name": port["name"]}}
        assert path["backend"]["service"] == backend


def test_prometheus_alone_reaches_the_metrics(manifests: Manifests) -> None:
    namespace, name = "kubernetes.io/metadata.name", "app.kubernetes.io/name"
    controller = {"namespaceSelector": {"matchLabels": {namespace: "ingress"}}}
    prometheus = {
        "namespaceSelector": {"matchLabels": {namespace: "monitoring"}},
        "podSelector": {"matchLabels": {name: "prometheus"}},
    }

    # A rule without `from` would admit every client; without `ports` it would open every port.
    assert manifests["NetworkPolicy"]["spec"]["ingress"] == [
        {"from": [controller], "ports": [{"port": "http"}]},
        {"from": [prometheus], "ports": [{"port": "metrics"}]},
    ]


COMPONENTS = ("prometheus-operator", "scale-on-requests")


@pytest.fixture(scope="module", params=OVERLAYS)
def with_components(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Manifests:
    """The manifests of an overlay that names every component."""
    project = bake(tmp_path_factory.mktemp("components"))
    overlay = project / "deploy" / "kubernetes" / "overlays" / request.param
    lines = ["components:", *(f"  - ../../components/{name}" for name in COMPONENTS)]
    with (overlay / "kustomization.yaml").open("a", encoding="utf-8") as file:
        file.write("\n".join([*lines, ""]))
    return by_kind(rendered(project, request.param))


def test_every_component_is_tested(project: Path) -> None:
    folder = project / "deploy" / "kubernetes" / "components"

    assert sorted(path.name for path in folder.iterdir()) == sorted(COMPONENTS)


def test_only_an_overlay_that_names_a_component_gets_it(
    manifests: Manifests, with_components: Manifests
) -> None:
    assert with_components.keys() - manifests.keys() <= {"ServiceMonitor", "Ingress"}
    assert "ServiceMonitor" in with_components
    assert "ServiceMonitor" not in manifests
    (metric,) = manifests["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert metric["type"] == "Resource"


def test_the_autoscaler_on_requests_aims_at_half_the_limit_of_a_pod(
    with_components: Manifests,
) -> None:
    from kubernetes_validate import utils  # noqa: PLC0415 (for Linux only)

    scaler = with_components["HorizontalPodAutoscaler"]
    for version in utils.all_versions():
        if tuple(map(int, version.split(".")[:2])) >= OLDEST_KUBERNETES:
            utils.validate(scaler, version, strict=True)
    (metric,) = scaler["spec"]["metrics"]  # replaces the metric of the processor
    target = metric["pods"]["target"]
    limit = int(with_components["ConfigMap"]["data"]["MAX_IN_FLIGHT"])
    assert int(target["averageValue"]) == limit / 2


def test_the_operator_s_prometheus_finds_the_service(with_components: Manifests) -> None:
    monitor, service = with_components["ServiceMonitor"], with_components["Service"]
    (endpoint,) = monitor["spec"]["endpoints"]

    assert monitor["spec"]["selector"]["matchLabels"] == service["metadata"]["labels"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert monitor["spec"]["jobLabel"] in service["metadata"]["labels"]
    assert monitor["metadata"]["namespace"] == service["metadata"]["namespace"]


def test_the_autoscaler_alone_decides_on_the_replicas(manifests: Manifests) -> None:
    assert "replicas" not in manifests["Deployment"]["spec"]


def test_pods_are_at_the_restricted_level(manifests: Manifests) -> None:
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    # https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert {"emptyDir"} == {key for volume in pod["volumes"] for key in volume if key != "name"}
    assert not pod["automountServiceAccountToken"]
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & set(pod)


def test_the_pod_runs_as_the_image_s_user(project: Path, manifests: Manifests) -> None:
    (user,) = re.findall(r"^USER (\d+:\d+)$", (project / "Dockerfile").read_text(), re.MULTILINE)

    context = manifests["Deployment"]["spec"]["template"]["spec"]["securityContext"]
    assert user == f"{context['runAsUser']}:{context['runAsGroup']}"


def test_the_memory_limit_holds_the_maximum_of_requests_in_flight(manifests: Manifests) -> None:
    (container,) = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    limit = int(container["resources"]["limits"]["memory"].removesuffix("Mi")) * 1024 * 1024
    in_flight = int(manifests["ConfigMap"]["data"]["MAX_IN_FLIGHT"])

    needed = IDLE_MEGABYTES * 1000_000 + in_flight * KILOBYTES_PER_REQUEST * 1000
    assert needed < 0.75 * limit


def test_the_readme_and_the_manifests_agree_on_the_times_of_a_stop(project: Path) -> None:
    readme = (project / "deploy" / "kubernetes" / "README.md").read_text(encoding="utf-8")
    manifests = by_kind(rendered(project, "production"))
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    settings = manifests["ConfigMap"]["data"]

    assert re.findall(r"^\| (?:up to )?(\d+) \|", readme, re.MULTILINE) == [
        str(pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]),
        settings["SHUTDOWN_DELAY_SECONDS"],
        settings["SHUTDOWN_GRACE_SECONDS"],
        settings["SHUTDOWN_GRACE_SECONDS"],
        str(pod["terminationGracePeriodSeconds"]),
    ]


@pytest.mark.parametrize(
    "deployment",
    [
        pytest.param(each, marks=[] if each == "all" else pytest.mark.heavy)
        for each in CHOICES["deployment"]
    ],
)
def test_no_link_of_a_document_is_broken(deployment: str, tmp_path: Path) -> None:
    project = bake(tmp_path, deployment=deployment)

    for document in project.rglob("*.md"):
        links = re.findall(r"\]\((?!http)([^)#]+)", document.read_text(encoding="utf-8"))
        assert [link for link in links if not (document.parent / link).exists()] == []


ALERTS = {"deploy/observability/rules.yaml", "deploy/observability/grafana/dashboard.json"}
IMAGE = ALERTS | {
    *(".dockerignore", "Dockerfile", "compose.override.yaml", "compose.yaml"),
    *("deploy/observability/prometheus.yml", "deploy/observability/grafana/provisioning"),
}


@pytest.mark.parametrize(
    ("deployment", "expected"),
    [
        ("none", ALERTS),  # they fit every deployment, as the metrics do
        ("systemd", ALERTS),
        ("docker", IMAGE),
        ("kubernetes", IMAGE | {"deploy/kubernetes"}),
        ("all", IMAGE | {"deploy/kubernetes"}),
    ],
)
def test_each_deployment_has_exactly_its_files(
    deployment: str, expected: set[str], tmp_path: Path
) -> None:
    project = bake(tmp_path, deployment=deployment)

    assert {name for name in {*IMAGE, "deploy/kubernetes"} if (project / name).exists()} == expected
    assert (project / "deploy").exists() == any((project / "deploy").glob("*"))
