"""The image's health check reaches every address on which the service can listen."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ..test_container import found

HOSTS = ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::", "::1", "localhost"]  # noqa: S104 - a container's


class Answer(BaseHTTPRequestHandler):
    """Answers every request with the status of its server."""

    def do_GET(self) -> None:
        self.send_response(getattr(self.server, "status", 500))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Do not log requests."""


@contextmanager
def answering(host: str, status: int) -> Iterator[int]:
    """Answer on `host`, and yield the port; skip the test if this machine lacks that address."""

    class Server(HTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    try:
        server = Server((host, 0), Answer)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    server.status = status  # type: ignore[attr-defined] # for the handler
    thread = threading.Thread(target=server.serve_forever, args=[0.01])  # checks for its end
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.skipif(sys.platform != "linux", reason="the image is Linux")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_uses_the_services_address(host: str, status: int, code: int) -> None:
    _, *command = json.loads(found("Dockerfile", r"^HEALTHCHECK.*\n +CMD (\[.*\])$")[0])

    with answering(host, status) as port:
        env = {"HOST": host, "PORT": str(port)}
        asked = subprocess.run([sys.executable, *command], env=env, check=False)  # noqa: S603 - ours

    assert asked.returncode == code
