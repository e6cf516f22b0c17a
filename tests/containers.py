"""Builds the service's image with buildah and runs it with runc: no daemon, maybe no registry.

Both need root. Images stay in `.cache/containers`, separate from the user's own images.
"""

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest

from .baking import ROOT

STORE = ROOT / ".cache" / "containers"
BUILDAH = (
    *("buildah", "--root", str(STORE / "storage"), "--runroot", str(STORE / "run")),
    *("--storage-driver", os.environ.get("STORAGE_DRIVER", "overlay")),
)
RUNC = ("runc", "--root", str(STORE / "runc"))
TOOLS = ("buildah", "runc")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
LIBC = ctypes.CDLL(None, use_errno=True)
PULL_SECONDS = 120
START_SECONDS = 30
STOP_SECONDS = 30

# The stand-in's Debian, which has the oldest Python that a service supports.
DEBIAN = "bookworm"
DEBIAN_PACKAGES = "ca-certificates,python3,python3-venv"


def skip_where_containers_cannot_run() -> None:
    """Skips the calling test, with the reason, where the tools or the rights are missing."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("containers are built and run by root on Linux")
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        pytest.skip(f"needs {', '.join(missing)}: apt-get install buildah runc debootstrap")


def command(*words: str, seconds: float = 300) -> str:
    """The standard output of a command; fails the test when the command failed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=seconds)
    if done.returncode:
        pytest.fail(f"{' '.join(words)} exited {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def build(project: Path, tag: str, **arguments: str) -> str:
    """Builds the project's image and returns the log of the build."""
    STORE.mkdir(parents=True, exist_ok=True)
    for image in re.findall(r"^FROM (\S+/\S+)", (project / "Dockerfile").read_text(), re.MULTILINE):
        provide(image)
    values = (f"--build-arg={name.upper()}={value}" for name, value in arguments.items())
    return command(
        *BUILDAH, "bud", "--isolation=chroot", "--network=host", "--layers", "--pull-never",
        "--format=docker", *values, "--tag", tag, str(project),
    )  # fmt: skip


def remove_working_containers() -> None:
    """Unmounts and removes leftover containers: buildah keeps one for a stage without steps."""
    command(*BUILDAH, "rm", "--all")


def provide(image: str) -> None:
    """Puts a base image into the store: the real one, or a stand-in if no registry answers.

    Skips the test if there is neither.
    """
    if subprocess.run([*BUILDAH, "inspect", image], capture_output=True, check=False).returncode:
        try:
            pulled = subprocess.run(
                [*BUILDAH, "pull", image], capture_output=True, check=False, timeout=PULL_SECONDS
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"no registry answers for {image}, within {PULL_SECONDS} s")
        if pulled.returncode:
            stand_in(image)


def stand_in(image: str) -> None:
    """Makes an image that replaces a base image, under its name."""
    with TemporaryDirectory(dir=STORE) as folder:
        root = Path(folder, "root")
        if "/uv:" in image:
            root.mkdir()
            shutil.copy2(shutil.which("uv") or pytest.skip("needs uv"), root / "uv")
        else:
            debian_with_python(root)
        container = command(*BUILDAH, "from", "scratch")
        command(*BUILDAH, "add", container, str(root), "/")
        certificates = f"SSL_CERT_FILE={CERTIFICATES}"
        path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
        command(*BUILDAH, "config", "--env", certificates, "--env", path, container)
        command(*BUILDAH, "commit", "--rm", container, image)


def debian_with_python(root: Path) -> None:
    """Fills a folder with Debian and its Python, close to the slim image of a newer Python.

    As in that image, `python` and pip are in /usr/local. The certificate authorities are this
    machine's, which may have to use a proxy.
    """
    if not shutil.which("debootstrap"):
        pytest.skip("no registry answers, and the stand-in needs debootstrap")
    sites = ("apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages")
    mirrors = [
        site for site in command(*sites).splitlines() if site.rstrip("/").endswith("/debian")
    ]
    options = ("--variant=minbase", f"--include={DEBIAN_PACKAGES}")
    made = subprocess.run(
        ["debootstrap", *options, DEBIAN, str(root), *mirrors[:1]], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no registry answers, and no Debian mirror:\n{made.stdout[-500:].decode()}")
    shutil.copy2(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
    for name in ("python", "python3"):
        (root / "usr/local/bin" / name).symlink_to("/usr/bin/python3")
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    wheels = "/usr/share/python-wheels"
    (wheel,) = root.glob(f"{wheels[1:]}/pip-*.whl")
    command(
        "chroot", str(root), "python3", f"{wheels}/{wheel.name}/pip", "--quiet", "install",
        "--no-index", f"--find-links={wheels}", "--root-user-action=ignore", "pip", "setuptools",
    )  # fmt: skip


def inspect(image: str) -> dict[str, Any]:
    """The configuration of an image, by the names of the OCI and Docker specifications."""
    image_and_history = json.loads(command(*BUILDAH, "inspect", "--type=image", image))
    configuration: dict[str, Any] = image_and_history["Docker"]["config"]
    return configuration


@contextmanager
def file_system(image: str) -> Iterator[Path]:
    """The files of an image."""
    container = command(*BUILDAH, "from", "--pull-never", image)
    try:
        yield Path(command(*BUILDAH, "mount", container))
    finally:
        command(*BUILDAH, "rm", container)


class Container(NamedTuple):
    """A running container with a separate network."""

    name: str
    process: subprocess.Popen[str]
    log: Path

    @property
    def pid(self) -> int:
        """The process id of its first process, as seen from outside."""
        return int(json.loads(command(*RUNC, "state", self.name))["pid"])

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in the container to its end."""
        return subprocess.run(
            [*RUNC, "exec", self.name, *words], capture_output=True, text=True, check=False
        )

    def signal(self, name: str) -> None:
        """Sends a signal to its first process, as an orchestrator does."""
        command(*RUNC, "kill", self.name, name)

    def network(self) -> ThreadPoolExecutor:
        """Threads of this process whose sockets are in the container's network."""

        def enter() -> None:
            with Path(f"/proc/{pid}/ns/net").open("rb") as namespace:
                if LIBC.setns(namespace.fileno(), 0):
                    raise OSError(ctypes.get_errno(), "cannot enter the container's network")

        pid = self.pid
        return ThreadPoolExecutor(initializer=enter)


@contextmanager
def running(image: str, *arguments: str, **environment: str) -> Iterator[Container]:
    """A container of the image with the limits of Kubernetes' restricted level; killed at the end.

    It runs the image's own command unless there are `arguments`. Its file system is read-only
    except /tmp, and it has no capability.
    """
    with file_system(image) as root, TemporaryDirectory(dir=STORE) as bundle:
        configuration = inspect(image)
        configuration["Cmd"] = arguments or configuration["Cmd"]
        specification = restricted(root, configuration, environment)
        Path(bundle, "config.json").write_text(json.dumps(specification), encoding="utf-8")
        name = Path(bundle).name
        log = Path(bundle, "log")  # an unread pipe would fill up, and stop the service
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*RUNC, "run", "--bundle", bundle, name], stdout=output, stderr=output, text=True
            )
        try:
            wait_until_created(name, process)
            yield Container(name, process, log)
        finally:
            subprocess.run([*RUNC, "delete", "--force", name], capture_output=True, check=False)
            process.wait(STOP_SECONDS)


def wait_until_created(name: str, process: subprocess.Popen[str]) -> None:
    """Returns once the container's first process runs, or has ended."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        state = subprocess.run([*RUNC, "state", name], capture_output=True, check=False)
        if not state.returncode and json.loads(state.stdout)["status"] == "running":
            return
        time.sleep(0.02)


def restricted(root: Path, image: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """The OCI runtime specification of a container: https://specs.opencontainers.org/runtime-spec/."""
    user, group = map(int, image["User"].split(":"))
    namespaces = ("ipc", "mount", "network", "pid", "uts")
    return {
        "ociVersion": "1.0.2",
        "root": {"path": str(root), "readonly": True},
        "process": {
            "user": {"uid": user, "gid": group},
            "args": image["Cmd"],
            "env": [*image["Env"], *(f"{name}={value}" for name, value in environment.items())],
            "cwd": image["WorkingDir"],
            "capabilities": {},
            "noNewPrivileges": True,
        },
        "mounts": [
            mount("/proc", "proc"),
            mount("/dev", "tmpfs", "nosuid", "mode=755"),
            mount("/tmp", "tmpfs", "nosuid", "nodev", "mode=1777"),  # noqa: S108 (in a container)
        ],
        "linux": {"namespaces": [{"type": namespace} for namespace in namespaces]},
    }


def mount(destination: str, kind: str, *options: str) -> dict[str, str | Sequence[str]]:
    """A file system in memory, as the specification describes one."""
    return {"destination": destination, "type": kind, "source": kind, "options": options}
