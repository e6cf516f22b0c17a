"""The units of a bake: systemd's tools accept them, and they restrict the service.

systemd itself does not run in tests; `units.py` and `systemd-socket-activate` replace it.
"""

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from .baking import OLDEST, bake
from .serving import PRODUCTION, free_port, get, running
from .units import Unit, missing
from .uv import on_python, run

# The result of `systemd-analyze security`, of 10.0, in tenths. RESTRICTED explains the rest.
EXPOSURE = 11

needs_systemd = pytest.mark.skipif(
    bool(missing("systemd-analyze")), reason="not installed: systemd-analyze"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service that is deployed under systemd."""
    return bake(tmp_path_factory.mktemp("systemd"), deployment="systemd")


@pytest.fixture(scope="module")
def python(project: Path) -> Path:
    """The Python of the project, in which it is installed."""
    run("uv", "sync", "--locked", "--no-dev", cwd=project, env=on_python(OLDEST))
    return project / ".venv" / "bin" / "python"


@pytest.fixture
def unit_files(project: Path, tmp_path: Path) -> Path:
    """The folder of an instance's units; only the path of the service is changed."""
    for path in (project / "deploy" / "systemd").glob("*@.*"):
        text = path.read_text(encoding="utf-8").replace("/opt/price-service/current", str(project))
        (tmp_path / path.name.replace("@.", "@8001.")).write_text(text, encoding="utf-8")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    return tmp_path


@needs_systemd
@pytest.mark.usefixtures("python")
def test_systemd_finds_no_fault_in_the_units(unit_files: Path) -> None:
    units = [unit_files / f"price-service@8001.{kind}" for kind in ("service", "socket")]

    assert run("systemd-analyze", "verify", "--man=no", *units, cwd=unit_files) == ""


@needs_systemd
def test_the_exposure_of_the_service_equals_the_record(unit_files: Path, project: Path) -> None:
    options = ("--offline=yes", "--no-pager", f"--threshold={EXPOSURE}")
    unit = unit_files / "price-service@8001.service"

    run("systemd-analyze", "security", *options, unit, cwd=unit_files)

    readme = (project / "deploy" / "systemd" / "README.md").read_text(encoding="utf-8")
    assert f" {EXPOSURE / 10} of 10 " in readme


def test_the_limits_of_the_unit_fit_the_settings(project: Path) -> None:
    unit = service_section(project)
    settings = defaults(project) | environment(unit)

    stop = float(settings["SHUTDOWN_DELAY_SECONDS"]) + 2 * float(settings["SHUTDOWN_GRACE_SECONDS"])
    assert stop < int(unit["timeoutstopsec"])
    assert 2 * int(settings["MAX_IN_FLIGHT"]) < int(unit["limitnofile"])
    assert 2 * int(settings["WORKER_THREADS"]) < int(unit["tasksmax"])
    assert environment(unit).keys() <= defaults(project).keys()


def test_the_nginx_site_agrees_with_the_settings(project: Path) -> None:
    site = (project / "deploy" / "nginx" / "price-service.conf").read_text(encoding="utf-8")
    upstream, servers = site.split("}", 1)
    settings = defaults(project)

    assert (
        int(settings["MAX_CONTENT_LENGTH"])
        == int(value(servers, "client_max_body_size", "m")) * 2**20
    )
    assert int(value(upstream, "keepalive_timeout", "s")) < int(settings["KEEP_ALIVE_SECONDS"])
    assert int(value(servers, "proxy_read_timeout", "s")) > float(
        settings["REQUEST_TIMEOUT_SECONDS"]
    )
    assert re.findall(r"server ([\d.]+):", upstream) == [settings["FORWARDED_ALLOW_IPS"]] * 2


def service_section(project: Path) -> dict[str, str]:
    """The settings of the service unit, by lower-case name; values of the same name are joined."""
    text = (project / "deploy" / "systemd" / "price-service@.service").read_text(encoding="utf-8")
    section: dict[str, str] = {}
    for name, given in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        section[name.lower()] = f"{section.get(name.lower(), '')} {given}".strip()
    return section


def environment(unit: dict[str, str]) -> dict[str, str]:
    """The environment variables in the unit."""
    return dict(each.split("=") for each in unit["environment"].split())


def defaults(project: Path) -> dict[str, str]:
    """The default settings from `.env.example`, which another test checks."""
    text = (project / ".env.example").read_text(encoding="utf-8")
    return dict(re.findall(r"^# ([A-Z_]+)=(.*)$", text, re.MULTILINE))


def value(text: str, directive: str, unit: str) -> str:
    """The number of an nginx directive."""
    [found] = set(re.findall(rf"\b{directive}\s+(\d+){unit};", text))
    return str(found)


@pytest.mark.heavy
def test_a_restart_of_the_service_refuses_no_connection(python: Path, tmp_path: Path) -> None:
    command = (python, "-m", "price_service", "--workers", "1")
    with closing(Unit(tmp_path / "unit", {}, *command)) as unit:
        unit.start()
        assert get(unit.port, "/livez").status == 200
        unit.stop()
        # No process runs now, and the socket accepts the connection.
        with ThreadPoolExecutor() as pool:
            between = pool.submit(get, unit.port, "/livez")
            unit.start()
            assert between.result().status == 200
        unit.stop()


@pytest.mark.heavy
@pytest.mark.skipif(
    bool(missing("systemd-socket-activate")), reason="not installed: systemd-socket-activate"
)
def test_the_service_listens_on_the_socket_from_systemd(python: Path, tmp_path: Path) -> None:
    port = free_port()
    command = ("systemd-socket-activate", f"--listen=127.0.0.1:{port}")
    # The service cannot open port 1 itself.
    env = {**os.environ, "PORT": "1"}
    serving = (*command, "--setenv=PORT", python, "-m", "price_service", "--workers", "1")

    with running(*serving, cwd=tmp_path, env=env, port=port) as server:
        assert get(port, "/livez").status == 200

    assert server.returncode == 0


@pytest.mark.heavy
@pytest.mark.skipif(
    bool(missing("systemd-analyze", "strace")),
    reason=f"not installed: {', '.join(missing('systemd-analyze', 'strace'))}",
)
def test_the_unit_allows_every_system_call_of_the_service(
    project: Path, python: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    # With -D the service keeps the process id in LISTEN_PID.
    strace = (str(shutil.which("strace")), "-D", "-f", "-qq", "-o", trace)
    env = {
        **environment(service_section(project)),
        **PRODUCTION,
        "PRICES__BASE_URL": f"http://localhost:{free_port()}",
    }
    with closing(
        Unit(tmp_path / "unit", env, *strace, python, "-m", "price_service", "--workers", "1")
    ) as unit:
        unit.start()
        assert get(unit.port, "/livez").status == 200
        assert get(unit.port, "/prices?symbol=AAPL").status == 502  # no upstream listens there
        assert get(unit.port, "/nowhere").status == 404
        unit.stop()
    calls = re.findall(r"^\d+ +(\w+)\((.*)$", trace.read_text(errors="replace"), re.MULTILINE)
    allowed = service_section(project)

    assert {name for name, _ in calls} - allowed_calls(allowed["systemcallfilter"]) == set()
    families = {given.split(",")[0] for name, given in calls if name == "socket"}
    assert families <= set(allowed["restrictaddressfamilies"].split())
    assert [given for name, given in calls if name == "bind" and "AF_INET" in given] == []
    assert [given for name, given in calls if "PROT_WRITE|PROT_EXEC" in given] == []


def allowed_calls(filters: str) -> set[str]:
    """The system calls that a unit's filters allow; the first filter is a list of allowed calls."""
    allowed, _, forbidden = filters.partition("~")
    return members(allowed) - members(forbidden)


def members(groups: str) -> set[str]:
    """The system calls in systemd's groups."""
    calls = set()
    for group in groups.split():
        listed = run("systemd-analyze", "syscall-filter", "--no-pager", group, cwd=Path("/"))
        names = re.findall(r"^ +(@?[\w-]+)$", listed, re.MULTILINE)
        calls |= {name for name in names if not name.startswith("@")}
        calls |= members(" ".join(name for name in names if name.startswith("@")))
    return calls
