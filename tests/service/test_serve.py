"""The service as a process: how it starts, how it refuses to, and how it stops."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from flask_asgi import STARTUP_FAILURE
from flask_asgi._readiness import SAME_STOP_SECONDS

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


def worker_processes(server: Server) -> set[int]:
    """Return the ids of both workers, once both have answered."""
    workers: set[int] = set()

    def both_have_answered() -> bool:
        workers.add(int(server.get("/worker")[1]))
        return len(workers) == 2

    wait_until(both_have_answered)
    return workers


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


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


def test_a_request_that_is_on_its_way_when_the_socket_closes_is_answered() -> None:
    with serve("tests.service.lingering_service") as server, closing(server.connect()) as connected:
        connected.connect()
        assert server.get("/livez")[0] == 200  # so the connection before it is accepted too
        server.process.terminate()
        wait_until(lambda: not server.accepts())

        assert ask(connected, "/livez").status == 200
        assert server.process.wait(10) == 0


def ask(connection: HTTPConnection, path: str) -> HTTPResponse:
    """Return the response to a request on a connection that is kept."""
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    return response


def test_collections_are_rare_and_leave_out_what_start_up_has_made() -> None:
    with serve("tests.service.stopping_service") as server:
        frozen = json.loads(server.get("/frozen")[1])

    assert frozen["objects"] > 10_000
    assert frozen["young"] > 10_000


def test_sigterm_waits_for_background_work() -> None:
    with serve("tests.service.stopping_service") as server:
        assert server.get("/background") == (200, "started")
        server.process.terminate()

        assert server.process.wait(10) == 0
        assert "the background work is done" in server.log


def test_ctrl_c_ends_well_when_the_shutdown_delay_is_over() -> None:
    with serve(env={"SHUTDOWN_DELAY_SECONDS": "0.2"}) as server:
        server.process.send_signal(signal.SIGINT)

        assert server.process.wait(10) == 0
        assert "Traceback" not in server.log


def test_a_second_signal_ends_at_once() -> None:
    with (
        serve("tests.service.stopping_service", env={"SHUTDOWN_GRACE_SECONDS": "60"}) as server,
        in_flight(server, "/forever") as answer,
    ):
        server.process.terminate()
        wait_until(lambda: "Waiting for connections to close" in server.log)
        time.sleep(SAME_STOP_SECONDS)
        server.process.terminate()

        assert server.process.wait(10) == -signal.SIGTERM
        assert isinstance(answer.exception(), ConnectionError)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_all_workers_at_once(number: signal.Signals) -> None:
    env = {"WEB_CONCURRENCY": "2", "SHUTDOWN_GRACE_SECONDS": "60"}
    with serve("tests.service.stopping_service", env=env) as server:
        workers = worker_processes(server)
        with in_flight(server, "/forever") as answer:
            server.process.send_signal(number)
            wait_until(lambda: "Waiting for child process" in server.log)
            time.sleep(SAME_STOP_SECONDS)
            server.process.send_signal(number)

            assert server.process.wait(10) == -number
            assert isinstance(answer.exception(), ConnectionError)
        assert not any(map(is_running, workers))


def test_a_stop_that_arrives_twice_at_a_parent_lets_its_workers_finish() -> None:
    with (
        serve("tests.service.stopping_service", env={"WEB_CONCURRENCY": "2"}) as server,
        in_flight(server, "/until-draining/async") as answer,
    ):
        server.process.terminate()
        server.process.terminate()

        assert answer.result() == (200, "answered")
        assert server.process.wait(10) == 0


def test_a_request_that_never_ends_does_not_hold_the_process_for_ever() -> None:
    with (
        serve("tests.service.stopping_service", env={"SHUTDOWN_GRACE_SECONDS": "0.1"}) as server,
        in_flight(server, "/forever"),
    ):
        server.process.terminate()

        assert server.process.wait(10) == 0


def test_two_workers_serve_and_stop_together() -> None:
    with serve("tests.service.stopping_service", env={"WEB_CONCURRENCY": "2"}) as server:
        workers = worker_processes(server)
        with in_flight(server, "/until-draining/async") as answer:
            server.process.terminate()

            assert answer.result() == (200, "answered")
        assert server.process.wait(10) == 0
        assert not any(map(is_running, workers))


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
        "import runpy, sys; sys.modules['pythonjsonlogger'] = None; "
        f"sys.argv = {arguments[1:]!r}; runpy.run_module({arguments[1]!r}, run_name='__main__')"
    )

    ended = run("-c", without)

    assert ended.returncode == {"service": 1}.get(command, STARTUP_FAILURE)
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"{PACKAGE} needs the module 'pythonjsonlogger', which is not installed")


def test_a_failed_start_up_stops_the_service_and_says_why() -> None:
    ended = run("-m", "tests.service.failing_service", "--port", "0")

    assert ended.returncode == 3
    assert "startup failed: OSError: the certificate has expired" in ended.stderr
