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
    """Send a request; continue once its view has begun."""
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(server.get, path)
        view = path.rpartition("/")[2]
        wait_until(lambda: json.loads(server.get(f"/inside/{view}")[1])["inside"])
        yield answer


def test_sigterm_drains_and_exits_with_0() -> None:
    with (
        serve("tests.service.stopping_service") as server,
        in_flight(server, "/until-draining/async") as from_async_view,
        in_flight(server, "/until-draining/sync") as from_sync_view,
    ):
        server.process.terminate()

        assert from_async_view.result() == (200, "answered")
        assert from_sync_view.result() == (200, "answered")
        assert server.process.wait(10) == 0


def test_ctrl_c_exits_with_0_after_the_shutdown_delay() -> None:
    with serve(env={"SHUTDOWN_DELAY_SECONDS": "0.2"}) as server:
        server.process.send_signal(signal.SIGINT)

        assert server.process.wait(10) == 0
        assert "Traceback" not in server.log


def test_a_second_sigterm_lets_the_workers_finish() -> None:
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


def test_reload_restarts_on_a_change_with_requests_in_flight(tmp_path: Path) -> None:
    package = Path(shutil.copytree(Path(serve_module.__file__).parent, tmp_path / PACKAGE))
    env = {
        "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, ROOT))),
        "COVERAGE_PROCESS_CONFIG": "",  # no coverage of the copy
    }

    def noticed() -> bool:
        # The first check of the reloader only records the files.
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


def test_wrong_settings_stop_the_service_before_it_starts_workers() -> None:
    ended = run(*COMMANDS["service"], env={"LOG_LEVEL": "s3cret", "WEB_CONCURRENCY": "2"})

    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert line.startswith("LOG_LEVEL")


def test_uvicorns_supervisor_does_not_retry_wrong_settings() -> None:
    flags = ("--port", "0", "--workers", "2", "--timeout-worker-healthcheck", "3")

    ended = run(*COMMANDS["uvicorn"], *flags, env={"LOG_LEVEL": "s3cret"})

    assert "LOG_LEVEL should be" in ended.stderr
    assert "failed to start, stopping the parent process" in ended.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_package_stops_the_start_with_one_sentence(command: str) -> None:
    arguments = COMMANDS[command]
    # An entry of None makes the import fail, as if the package were not installed. No other package
    # imports aiohttp.
    without = (
        "import runpy, sys; sys.modules['aiohttp'] = None; "
        f"sys.argv = {arguments[1:]!r}; runpy.run_module({arguments[1]!r}, run_name='__main__')"
    )

    ended = run("-c", without)

    assert ended.returncode == {"service": 1}.get(command, STARTUP_FAILURE)
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"{PACKAGE} needs the module 'aiohttp', which is not installed")


def test_a_failed_start_up_stops_the_service_with_its_cause() -> None:
    ended = run("-m", "tests.service.failing_service", "--port", "0")

    assert ended.returncode == 3
    assert "startup failed: OSError: the certificate has expired" in ended.stderr
