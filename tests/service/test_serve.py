"""The service as a process: its start, its refusals to start, and its stop."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask_asgi import STARTUP_FAILURE

from price_service import serve as serve_module

from ..serving import PACKAGE, ROOT, Server, run, serve, wait_until

COMMANDS = {"service": ["-m", PACKAGE], "uvicorn": ["-m", "uvicorn", f"{PACKAGE}.asgi:asgi"]}


@contextmanager
def in_flight(server: Server, path: str) -> Iterator[Future[tuple[int, str]]]:
    """Send a request and go on when its view has begun."""
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(server.get, path)
        view = path.rpartition("/")[2]
        wait_until(lambda: json.loads(server.get(f"/inside/{view}")[1])["inside"])
        yield answer


def test_sigterm_answers_what_is_in_flight_and_then_ends_well() -> None:
    with (
        serve("tests.service.stopping_service") as server,
        in_flight(server, "/until-draining/async") as from_async_view,
        in_flight(server, "/until-draining/sync") as from_sync_view,
    ):
        server.process.terminate()

        assert from_async_view.result() == (200, "answered")
        assert from_sync_view.result() == (200, "answered")
        assert server.process.wait(10) == 0


def test_ctrl_c_ends_well_when_the_shutdown_delay_is_over() -> None:
    with serve(env={"SHUTDOWN_DELAY_SECONDS": "0.2"}) as server:
        server.process.send_signal(signal.SIGINT)

        assert server.process.wait(10) == 0
        assert "Traceback" not in server.log


def test_a_stop_that_arrives_twice_at_a_parent_lets_its_workers_finish() -> None:
    with (
        serve("tests.service.stopping_service", env={"WEB_CONCURRENCY": "2"}) as server,
        in_flight(server, "/until-draining/async") as answer,
    ):
        server.process.terminate()
        server.process.terminate()

        assert answer.result() == (200, "answered")
        assert server.process.wait(10) == 0


def test_reload_serves_and_stops() -> None:
    with serve(PACKAGE, "--reload", env={"WEB_CONCURRENCY": "2"}) as server:
        assert server.get("/livez")[0] == 200
        server.process.terminate()

        assert server.process.wait(10) == 0


def test_reload_starts_again_when_a_source_changes_whatever_is_in_flight(tmp_path: Path) -> None:
    package = Path(shutil.copytree(Path(serve_module.__file__).parent, tmp_path / PACKAGE))
    env = {
        "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, ROOT))),
        "COVERAGE_PROCESS_CONFIG": "",  # the copy is nothing to measure
    }

    def noticed() -> bool:
        # The first look only learns what there is.
        (package / "app.py").touch()
        return "Reloading" in server.log

    with serve("tests.service.stopping_service", "--reload", env=env) as server:
        before = server.get("/worker")
        with in_flight(server, "/forever") as answer:
            wait_until(noticed)
            wait_until(lambda: server.get("/worker") != before)

            assert answer.result()[0] == 503
        server.process.terminate()

        assert server.process.wait(10) == 0


def test_wrong_settings_stop_the_service_before_it_has_workers() -> None:
    ended = run(*COMMANDS["service"], env={"LOG_LEVEL": "s3cret", "WEB_CONCURRENCY": "2"})

    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert line.startswith("LOG_LEVEL")


def test_wrong_settings_are_not_tried_again_by_uvicorns_supervisor() -> None:
    flags = ("--port", "0", "--workers", "2", "--timeout-worker-healthcheck", "3")

    ended = run(*COMMANDS["uvicorn"], *flags, env={"LOG_LEVEL": "s3cret"})

    assert "LOG_LEVEL should be" in ended.stderr
    assert "failed to start, stopping the parent process" in ended.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_package_stops_the_start_with_a_sentence(command: str) -> None:
    arguments = COMMANDS[command]
    # An entry of None is how an import of a package that is not installed can be had; this one is
    # imported by no other package.
    without = (
        "import runpy, sys; sys.modules['aiohttp'] = None; "
        f"sys.argv = {arguments[1:]!r}; runpy.run_module({arguments[1]!r}, run_name='__main__')"
    )

    ended = run("-c", without)

    assert ended.returncode == {"service": 1}.get(command, STARTUP_FAILURE)
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"{PACKAGE} needs the module 'aiohttp', which is not installed")


def test_a_failed_start_up_stops_the_service_and_says_why() -> None:
    ended = run("-m", "tests.service.failing_service", "--port", "0")

    assert ended.returncode == 3
    assert "startup failed: OSError: the certificate has expired" in ended.stderr
