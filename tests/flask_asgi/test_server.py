"""How the library's server and its workers start and stop, as real processes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from socket import create_server
from typing import Any

import pytest
from flask_asgi._readiness import SAME_STOP_SECONDS
from uvicorn.config import STARTUP_FAILURE

from tests.serving import PATIENCE, Answer, Server, environment, free_port, wait_until

from .probes import APPLICATION, serve_application
from .wire import connect, get

WAITS = "/until-draining/async"  # in flight until the server gets a stop signal, and then answered


@contextmanager
def in_flight(server: Server, path: str = WAITS) -> Iterator[Future[Answer]]:
    """Send a request and go on when its view has begun."""
    began = f"/event/{path.strip('/').replace('/', '-')}-began"
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(server.get, path)
        wait_until(lambda: server.get(began).body != b"0")
        yield answer


def worker_processes(server: Server) -> set[int]:
    """Return the ids of both workers, once both have answered."""
    workers: set[int] = set()

    def both_have_answered() -> bool:
        workers.add(int(server.get("/worker").body))
        return len(workers) == 2

    wait_until(both_have_answered)
    return workers


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def ask(connection: HTTPConnection, path: str) -> HTTPResponse:
    """Return the response to a request on a connection that is kept."""
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    return response


def kept_connection(server: Server) -> HTTPConnection:
    return HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)


# One process


HANGUP = signal.Signals(1)  # SIGHUP, which Windows does not have
is_ignored = pytest.mark.skipif(signal.getsignal(HANGUP) is signal.SIG_IGN, reason="under nohup")


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, pytest.param(HANGUP, marks=is_ignored)]
)
def test_a_stop_answers_requests_in_flight_and_exits_with_0(number: signal.Signals) -> None:
    with (
        serve_application() as server,
        in_flight(server, "/until-draining/async") as from_async_view,
        in_flight(server, "/until-draining/sync") as from_sync_view,
    ):
        server.process.send_signal(number)

        assert from_async_view.result()[::2] == (200, b"answered")
        assert from_sync_view.result()[::2] == (200, b"answered")
        assert server.process.wait(PATIENCE) == 0
        assert "Traceback" not in server.log


def test_a_draining_server_stays_open_and_ends_kept_connections() -> None:
    with serve_application(delay=600) as server, closing(kept_connection(server)) as kept:
        before = ask(kept, "/livez")
        server.process.terminate()
        with in_flight(server):  # answered as soon as it drains
            pass
        after = ask(kept, "/livez")

        assert (before.status, before.getheader("Connection")) == (200, None)
        assert (after.status, after.getheader("Connection")) == (200, "close")
        server.kill()


def test_a_request_that_is_on_its_way_when_the_socket_closes_is_answered() -> None:
    with serve_application(on_its_way=600) as server, closing(kept_connection(server)) as connected:
        connected.connect()
        assert server.get("/livez").status == 200  # so the connection before it is accepted too
        server.process.terminate()
        wait_until(lambda: not server.accepts())

        assert ask(connected, "/livez").status == 200
        server.kill()


def test_a_stop_waits_for_background_work() -> None:
    with serve_application() as server:
        assert server.get("/background").body == b"started"
        server.process.terminate()

        assert server.process.wait(PATIENCE) == 0
        assert "the background work is done" in server.log


def test_a_second_signal_ends_the_server_at_once() -> None:
    with (
        serve_application("--grace", "600") as server,
        in_flight(server, "/hang") as answer,
    ):
        server.process.terminate()
        wait_until(lambda: "Waiting for connections to close" in server.log)
        time.sleep(SAME_STOP_SECONDS)
        server.process.terminate()

        assert server.process.wait(PATIENCE) == -signal.SIGTERM
        assert isinstance(answer.exception(), ConnectionError)


def test_a_stream_that_waits_for_draining_ends_at_a_stop() -> None:
    async def stream(server: Server) -> list[bytes]:
        async with connect(server.url) as connection:
            connection.send("/until-draining/stream")
            await connection.head()
            first = await connection.chunk()
            server.process.terminate()
            return [first, await connection.chunk(), await connection.chunk()]

    with serve_application() as server:
        chunks = asyncio.run(asyncio.wait_for(stream(server), PATIENCE))

        assert server.process.wait(PATIENCE) == 0
    assert [b"first", b"last", b""] == chunks


@pytest.mark.parametrize("path", ["/endless", "/hang"])
def test_a_stop_that_exceeds_its_grace_logs_a_line_and_no_traceback(path: str) -> None:
    async def ask(server: Server) -> bytes:
        async with connect(server.url) as connection:
            connection.send(path)
            if path == "/endless":
                await connection.head()
            await get(server.url, "/livez")
            server.process.terminate()
            try:
                return await connection.reader.read()
            except ConnectionError:
                return b"reset"

    with serve_application("--grace", "1") as server:
        answer = asyncio.run(asyncio.wait_for(ask(server), PATIENCE))

        assert server.process.wait(PATIENCE) == 0
        assert 1 == server.log.count("did not end within 1 s")
        assert "Traceback" not in server.log
        assert "ERROR" not in server.log
    assert answer.startswith(b"HTTP/1.1 503") == (path == "/hang")


def test_the_ipv6_wildcard_address_also_serves_ipv4() -> None:
    with serve_application("--host", "::") as server:
        assert server.get("/livez").status == 200


def ended(*flags: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Return the exit code and the output of a server that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", APPLICATION, *flags],
        env=environment({"ENGINE_OPTIONS": json.dumps(options)}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_failed_start_up_ends_the_server_and_says_why() -> None:
    failed = ended("--port", str(free_port()), fails_to_start=True)

    assert failed.returncode == STARTUP_FAILURE
    assert "startup failed: OSError: the certificate has expired" in failed.stderr


def test_a_taken_port_ends_the_server_with_a_message() -> None:
    with create_server(("127.0.0.1", 0)) as taken:
        failed = ended("--port", str(taken.getsockname()[1]))

    assert failed.returncode not in {0, -signal.SIGTERM}
    assert "address already in use" in failed.stderr
    assert "Traceback" not in failed.stderr


# Several workers


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.heavy)]
)
def test_a_second_signal_ends_all_workers_at_once(number: signal.Signals) -> None:
    with serve_application("--workers", "2", "--grace", "600") as server:
        workers = worker_processes(server)
        with in_flight(server, "/hang") as answer:
            server.process.send_signal(number)
            wait_until(lambda: "Waiting for child process" in server.log)
            time.sleep(SAME_STOP_SECONDS)
            server.process.send_signal(number)

            assert server.process.wait(PATIENCE) == -number
            assert isinstance(answer.exception(), ConnectionError)
        wait_until(lambda: not any(map(is_running, workers)))


@pytest.mark.parametrize(
    "times",
    [
        pytest.param(1, id="one signal"),
        pytest.param(2, id="two signals", marks=pytest.mark.heavy),
    ],
)
def test_workers_answer_requests_in_flight_and_stop_together(times: int) -> None:
    with serve_application("--workers", "2") as server:
        workers = worker_processes(server)
        with in_flight(server) as answer:
            for _ in range(times):
                server.process.terminate()

            assert answer.result()[::2] == (200, b"answered")
        assert server.process.wait(PATIENCE) == 0
        assert not any(map(is_running, workers))


def test_a_stopped_worker_leaves_the_socket_open_for_the_others() -> None:
    with serve_application("--workers", "2") as server:
        workers = worker_processes(server)
        server.process.send_signal(signal.Signals["SIGTTOU"])
        wait_until(lambda: not all(map(is_running, workers)))

        assert int(server.get("/worker").body) in workers


def test_a_stop_of_several_workers_resets_no_connection() -> None:
    with serve_application("--workers", "2") as server:
        worker_processes(server)
        server.process.terminate()
        with suppress(ConnectionRefusedError):
            while True:  # answered, as long as the socket is open
                assert server.get("/livez").status == 200

        assert server.process.wait(PATIENCE) == 0


def test_workers_end_with_their_parent() -> None:
    with serve_application("--workers", "2") as server:
        workers = worker_processes(server)
        server.process.kill()
        server.process.wait(PATIENCE)

        wait_until(lambda: not server.accepts())
        wait_until(lambda: not any(map(is_running, workers)))
