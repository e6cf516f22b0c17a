"""The service's image, built and run: its content, its permissions, and its stop."""

import shutil
import stat
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest
import yaml

from . import containers, serving

pytestmark = pytest.mark.heavy

IMAGE = "localhost/price-service:tested"
PORT = 8000
UPSTREAM_PORT = 9000
# buildah takes a label from its cache even when a build argument has changed, so these are fixed.
LABELS = {"version": "1.2.3", "revision": "0f0f0f0", "created": "2026-01-02T03:04:05Z"}
MAY_BE_WRITTEN = {"run/lock", "tmp", "var/tmp"}  # world-writable in every Debian
MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def image(project: Path) -> Iterator[str]:
    containers.skip_where_containers_cannot_run()
    try:
        containers.build(project, IMAGE, **LABELS)
        yield IMAGE
    finally:
        containers.remove_working_containers()


@pytest.fixture(scope="module")
def files(image: str) -> Iterator[Path]:
    with containers.file_system(image) as root:
        yield root


@pytest.fixture(scope="module")
def container(image: str) -> Iterator[containers.Container]:
    """A container that answers from the embedded stub upstream."""
    with containers.running(image, ENVIRONMENT="development") as container:
        wait_until_ready(container)
        yield container


def wait_until_ready(container: containers.Container) -> None:
    with container.network() as network:
        network.submit(serving.wait_until_ready, container.process, PORT).result()


def test_the_labels_of_the_image_name_its_source(image: str) -> None:
    labels = containers.inspect(image)["Labels"]

    prefix = "org.opencontainers.image."
    assert {name: labels[prefix + name] for name in LABELS} == LABELS
    assert labels[f"{prefix}title"] == "price-service"


def test_a_change_of_the_source_keeps_the_layer_of_the_dependencies(
    image: str, project: Path, tmp_path: Path
) -> None:
    changed = shutil.copytree(project, tmp_path / "project", ignore=shutil.ignore_patterns(".*env"))
    with (changed / "src" / "price_service" / "app.py").open("a") as source:
        source.write("# changed\n")

    log = containers.build(changed, f"{image}-changed", **LABELS)

    (dependencies,) = (step for step in log.split("STEP") if "--no-install-project" in step)
    assert "Using cache" in dependencies
    with containers.file_system(f"{image}-changed") as root:
        (module,) = root.glob("app/.venv/lib/python3*/site-packages/price_service/app.py")
        assert "# changed" in module.read_text(encoding="utf-8")


def test_there_is_no_compiler_and_no_package_manager(files: Path) -> None:
    folders = [
        files / folder for folder in ("usr/bin", "usr/sbin", "usr/local/bin", "app/.venv/bin")
    ]
    programs = {path.name for folder in folders for path in folder.iterdir()}

    unwanted = {"apt", "apt-get", "cc", "dpkg", "g++", "gcc", "make", "pip", "pip3", "uv", "uvx"}
    assert set() == unwanted & programs
    assert [*files.glob("usr/**/site-packages/pip"), *files.glob("usr/local/**/pip")] == []
    assert [*files.glob("usr/**/ensurepip")] == []


def test_the_package_lists_for_scanners_exist(files: Path) -> None:
    assert "Package: libc6" in (files / "var/lib/dpkg/status").read_text(encoding="utf-8")


def test_the_service_and_its_dependencies_are_small(files: Path) -> None:
    size = sum(path.stat().st_size for path in (files / "app").rglob("*") if path.is_file())

    assert size < 80 * MEBIBYTE


def test_the_modules_are_compiled(files: Path) -> None:
    (package,) = files.glob("app/.venv/lib/python3*/site-packages/price_service")

    compiled = {path.name.partition(".")[0] for path in package.glob("__pycache__/*.pyc")}
    assert {path.stem for path in package.glob("*.py")} == compiled


def test_its_user_owns_no_file_and_can_write_none(image: str, files: Path) -> None:
    user = int(containers.inspect(image)["User"].partition(":")[0])
    everything = [path for path in files.rglob("*") if path.is_file() or path.is_dir()]

    assert [path for path in everything if path.lstat().st_uid == user] == []
    writable = [path for path in everything if path.lstat().st_mode & stat.S_IWOTH]
    found = {str(path.relative_to(files)) for path in writable if not path.is_symlink()}
    assert found <= MAY_BE_WRITTEN


def test_the_container_answers(container: containers.Container) -> None:
    with container.network() as network:
        answer = network.submit(serving.get, PORT, "/prices?symbol=AAPL&symbol=MSFT").result()

    assert answer.status == 200
    assert {"AAPL", "MSFT"} == set(answer.json()["prices"])


def test_the_service_is_process_1_and_not_root(container: containers.Container) -> None:
    status = dict(
        line.split(":\t", 1) for line in container.run("cat", "/proc/1/status").stdout.splitlines()
    )

    assert status["Name"] == "price-service"
    assert {"10001"} == set(status["Uid"].split()) == set(status["Gid"].split())
    assert int(status["CapEff"], base=16) == 0


@pytest.mark.parametrize("path", ["/app/new", "/app/.venv/new", "/etc/new", "/home/new", "/new"])
def test_the_service_cannot_write(path: str, container: containers.Container) -> None:
    done = container.run("touch", path)

    assert "Read-only file system" in done.stderr


def test_the_health_check_fails_without_a_service(
    image: str, container: containers.Container
) -> None:
    kind, *check = containers.inspect(image)["Healthcheck"]["Test"]

    assert kind == "CMD"
    assert container.run(*check).returncode == 0
    assert container.run("env", "PORT=1", *check).returncode != 0


def test_production_without_an_upstream_does_not_start(image: str) -> None:
    with containers.running(image) as container:
        assert container.process.wait(serving.START_SECONDS) == 2
        printed = container.log.read_text(encoding="utf-8")

    assert "PRICES__BASE_URL must be set when ENVIRONMENT is production" in printed


def test_the_stub_of_the_compose_file_answers_its_health_check(image: str, project: Path) -> None:
    services = yaml.safe_load((project / "compose.override.yaml").read_text("utf-8"))["services"]
    _, *check = services["prices"]["healthcheck"]["test"]

    with containers.running(image, *services["prices"]["command"]) as container:
        deadline = time.monotonic() + serving.START_SECONDS
        while container.run(*check).returncode:
            assert time.monotonic() < deadline, container.log.read_text(encoding="utf-8")


class HeldUpstream(ThreadingHTTPServer):
    """An upstream that reports its first request, and answers once the test allows it."""

    def __init__(self) -> None:
        self.asked = Event()
        self.may_answer = Event()
        super().__init__(("127.0.0.1", UPSTREAM_PORT), HeldAnswer)


class HeldAnswer(BaseHTTPRequestHandler):
    """One request of `HeldUpstream`."""

    server: HeldUpstream

    def do_GET(self) -> None:
        """Answers with a price once the test allows it."""
        self.server.asked.set()
        self.server.may_answer.wait(serving.STOP_SECONDS)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"symbol": "AAPL", "price": 1.5}')


def test_sigterm_drains_and_exits_with_0(image: str) -> None:
    settings = {
        **serving.PRODUCTION,
        "PRICES__BASE_URL": f"http://127.0.0.1:{UPSTREAM_PORT}",
        "PRICES__TIMEOUT_SECONDS": str(serving.STOP_SECONDS),
        "PRICES__DEADLINE_SECONDS": str(serving.STOP_SECONDS),
        "SHUTDOWN_DELAY_SECONDS": "0.5",
    }
    with (
        containers.running(image, **settings) as container,
        container.network() as network,
        network.submit(HeldUpstream).result() as upstream,
    ):
        Thread(target=upstream.serve_forever, daemon=True).start()
        network.submit(serving.wait_until_ready, container.process, PORT).result()
        in_flight = network.submit(serving.get, PORT, "/prices?symbol=AAPL")
        assert upstream.asked.wait(serving.START_SECONDS)

        container.signal("TERM")
        network.submit(wait_until_refused, PORT).result()
        assert not in_flight.done()
        upstream.may_answer.set()

        assert in_flight.result().json()["prices"] == {"AAPL": "1.5"}
        assert container.process.wait(serving.STOP_SECONDS) == 0
        upstream.shutdown()


def wait_until_refused(port: int) -> None:
    """Returns once `/readyz` has answered 503 and the port refuses connections."""
    deadline = time.monotonic() + serving.STOP_SECONDS
    status = 0
    try:
        while time.monotonic() < deadline:
            status = serving.get(port, "/readyz").status
    except ConnectionError:
        assert status == 503
    else:
        pytest.fail(f"/readyz still answers, with {status}")
