"""A service whose logs are not read: it answers, stops in time, and counts the missing lines."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import pytest

from ..serving import PACKAGE, PATIENCE, environment, free_port, wait_until

# Lines of 800 bytes: together several times the size of a pipe, and less than the queue.
REQUESTS = 400
LONG = "/" + 250 * "x"


@dataclass
class Unread:
    """A service with its port; its process has the pipe of its logs."""

    process: subprocess.Popen[bytes]
    port: int

    def connect(self) -> HTTPConnection:
        """Return a connection to the service."""
        return HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def answers(self) -> bool:
        """Return whether the service answers."""
        with suppress(OSError), closing(self.connect()) as client:
            client.request("GET", "/livez")
            return client.getresponse().status == 200
        return False

    def rest(self) -> list[dict[str, Any]]:
        """Return all log lines until the end of the service."""
        _, written = self.process.communicate(timeout=PATIENCE)
        return [json.loads(line) for line in written.splitlines()]


@contextmanager
def serve_unread(*flags: str) -> Iterator[Unread]:
    """Serve with stderr as an unread pipe."""
    port = free_port()
    with subprocess.Popen(  # noqa: S603 - the command is ours
        [sys.executable, "-m", PACKAGE, "--port", str(port), *flags],
        stderr=subprocess.PIPE,
        env=environment({"LOG_FORMAT": "json"}),
        start_new_session=True,
    ) as process:
        service = Unread(process, port)
        try:
            wait_until(service.answers)
            yield service
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 9)


def ask(service: Unread, number: int) -> None:
    """Send requests on one connection; each logs a line."""
    with closing(service.connect()) as client:
        for _ in range(number):
            client.request("GET", LONG)
            response = client.getresponse()
            assert response.status == 404
            response.read()


@pytest.mark.skipif(sys.platform == "win32", reason="ends a group of processes")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_with_unread_logs_answers_and_stops(workers: str) -> None:
    with serve_unread("--workers", workers) as service:
        ask(service, REQUESTS)
        service.process.terminate()

        assert service.process.wait(PATIENCE) == 0


def test_a_late_reader_gets_every_log_line() -> None:
    with serve_unread("--workers", "1") as service:
        ask(service, REQUESTS)
        service.process.terminate()

        lines = service.rest()

    assert sum(line["message"].startswith("GET /xxx") for line in lines) == REQUESTS
    assert lines[-1]["message"].startswith("Finished server process")
    assert service.process.returncode == 0
