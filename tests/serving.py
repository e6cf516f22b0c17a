"""Starts a baked service as a user does, and calls it."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

START_SECONDS = 30
STOP_SECONDS = 40


class Answer(NamedTuple):
    """What a service answered with."""

    status: int
    content_type: str
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 (any JSON)
        """The body as JSON."""
        return json.loads(self.body)


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def get(port: int, path: str) -> Answer:
    """The answer to a GET; raises OSError when there is none."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return Answer(response.status, response.headers.get_content_type(), response.read())
    finally:
        connection.close()


@contextmanager
def running(
    *command: str | Path, cwd: Path, env: Mapping[str, str], port: int
) -> Iterator[subprocess.Popen[str]]:
    """A server, ready for requests, stopped at the end with SIGTERM; its exit code is then known.

    Raises:
        AssertionError: with what it printed, when it ends before it answers.
    """
    process = subprocess.Popen(
        command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        wait_until_ready(process, port)
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def wait_until_ready(process: subprocess.Popen[str], port: int) -> None:
    """Returns once the server says that it is ready."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(process.communicate()[0])
        try:
            if get(port, "/readyz").status == 200:
                return
        except OSError:
            pass
        time.sleep(0.02)
    message = f"not ready after {START_SECONDS} s"
    raise AssertionError(message)
