"""What is deployed passes the tools that read it, and its parts refer to each other rightly."""

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

# From the first one whose preStop hook can sleep without a feature gate that is off.
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
    """An overlay as kustomize puts it together."""
    folder = f"deploy/kubernetes/overlays/{overlay}"
    return run(TOOLS / "kubectl", "kustomize", folder, cwd=project)


def by_kind(text: str) -> Manifests:
    """The manifests, by their kind; there is one of each."""
    documents = [*yaml.safe_load_all(text)]
    manifests = {document["kind"]: document for document in documents}
    assert len(documents) == len(manifests)
    return manifests


@pytest.fixture(scope="module", params=OVERLAYS)
def manifests(request: pytest.FixtureRequest, project: Path) -> Manifests:
    return by_kind(rendered(project, request.param))


@pytest.fixture(scope="module", params=[True, False], ids=["example", "plain"])
def baked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with everything there is to deploy, with the example and without."""
    folder = tmp_path_factory.mktemp("baked")
    return bake(folder, deployment="all", include_example=request.param, github_username="Ann-B")


def test_the_dockerfile_has_no_fault(baked: Path) -> None:
    assert run(TOOLS / "hadolint", "--no-color", "Dockerfile", cwd=baked) == ""


def test_the_compose_files_fit_their_schema(baked: Path) -> None:
    files = sorted(path.name for path in baked.glob("compose*.yaml"))

    assert "compose.yaml" in files
    run(TOOLS / "check-jsonschema", "--builtin-schema=vendor.compose-spec", *files, cwd=baked)


def test_the_stub_is_as_restricted_as_the_service(project: Path) -> None:
    service = yaml.safe_load((project / "compose.yaml").read_text())["services"]["service"]
    stub = yaml.safe_load((project / "compose.override.yaml").read_text())["services"]["prices"]

    for name in ("build", "image", "restart", "read_only", "tmpfs", "cap_drop", "security_opt"):
        assert service[name] == stub[name]
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) == set(stub["deploy"]["resources"]["limits"])


@pytest.mark.parametrize(
    "versions",
    [
        pytest.param(slice(1), id="the oldest"),
        pytest.param(slice(-1, None), id="the newest"),
        # To read the schemas of a version takes long.
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
def test_checkov_finds_nothing_but_what_is_exempt(baked: Path, tmp_path: Path) -> None:
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


def test_everything_selects_the_pods_of_the_deployment(manifests: Manifests) -> None:
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


def test_everything_refers_to_what_there_is(manifests: Manifests) -> None:
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
    (port,) = manifests["Service"]["spec"]["ports"]
    container_port, metrics_port = container["ports"]
    assert metrics_port["name"] == "metrics"
    assert port["targetPort"] == container_port["name"]
    (ingress,) = manifests["NetworkPolicy"]["spec"]["ingress"]
    assert ingress["ports"] == [{"port": container_port["name"]}]
    for rule in manifests.get("Ingress", {"spec": {"rules": []}})["spec"]["rules"]:
        (path,) = rule["http"]["paths"]
        backend = {"name": names["Service"], "port": {"name": port["name"]}}
        assert path["backend"]["service"] == backend


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


def test_the_memory_holds_the_requests_that_are_let_in(manifests: Manifests) -> None:
    (container,) = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    limit = int(container["resources"]["limits"]["memory"].removesuffix("Mi")) * 1024 * 1024
    in_flight = int(manifests["ConfigMap"]["data"]["MAX_IN_FLIGHT"])

    needed = IDLE_MEGABYTES * 1000_000 + in_flight * KILOBYTES_PER_REQUEST * 1000
    assert needed < 0.75 * limit


def test_the_readme_times_a_stop_as_the_manifests_do(project: Path) -> None:
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


@pytest.mark.parametrize("deployment", CHOICES["deployment"])
def test_the_links_of_the_documents_lead_somewhere(deployment: str, tmp_path: Path) -> None:
    project = bake(tmp_path, deployment=deployment)

    for document in project.rglob("*.md"):
        links = re.findall(r"\]\((?!http)([^)#]+)", document.read_text(encoding="utf-8"))
        assert [link for link in links if not (document.parent / link).exists()] == []


IMAGE = {".dockerignore", "Dockerfile", "compose.override.yaml", "compose.yaml"}


@pytest.mark.parametrize(
    ("deployment", "expected"),
    [
        ("none", set()),
        ("systemd", set()),
        ("docker", IMAGE),
        ("kubernetes", IMAGE | {"deploy/kubernetes"}),
        ("all", IMAGE | {"deploy/kubernetes"}),
    ],
)
def test_the_answer_brings_its_files_and_no_others(
    deployment: str, expected: set[str], tmp_path: Path
) -> None:
    project = bake(tmp_path, deployment=deployment)

    assert {name for name in {*IMAGE, "deploy/kubernetes"} if (project / name).exists()} == expected
    assert (project / "deploy").exists() == any((project / "deploy").glob("*"))
