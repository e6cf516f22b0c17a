"""Starts servers as real processes, a baked service or a test's own application, and calls them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

START_SECONDS = 120  # only a failing test waits that long
STOP_SECONDS = 40
PATIENCE = 60.0  # seconds; only a failing test waits that long

ROOT = Path(__file__).parents[1]
LIBRARIES = ROOT / "{{cookiecutter.project_slug}}" / "src"

# The settings that production needs for a default bake, except its upstream. Its issuer is unused.
PRODUCTION = {
    "ENVIRONMENT": "production",
    "ALLOWED_HOSTS": "127.0.0.1,localhost",
    "AUTH__ISSUER": "https://login.example.com/",
    "AUTH__JWKS_URL": "http://127.0.0.1:1/keys",
}


class Answer(NamedTuple):
    """A response of a service."""

    status: int
    content_type: str
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 (any JSON)
        """The body as JSON."""
        return json.loads(self.body)


def free_port() -> int:
    """A port of 127.0.0.1 that no server listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Returns as soon as `condition` is true.

    Raises:
        AssertionError: it is not true within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.02)


def get(port: int, path: str) -> Answer:
    """The answer to a GET; raises OSError without an answer."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return Answer(response.status, response.headers.get_content_type(), response.read())


@contextmanager
def running(
    *command: str | Path, cwd: Path, env: Mapping[str, str], port: int
) -> Iterator[subprocess.Popen[str]]:
    """A server, ready for requests, stopped at the end with SIGTERM; then it has an exit code.

    Raises:
        AssertionError: with its output, when it ends before it answers.
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
    """Returns once the server reports that it is ready."""

    def is_ready() -> bool:
        if process.poll() is not None:
            raise AssertionError(process.communicate()[0])
        with suppress(OSError):
            return get(port, "/readyz").status == 200
        return False

    wait_until(is_ready, START_SECONDS)


# Servers of the libraries' tests


@dataclass(frozen=True)
class Server:
    """A running server of a test's own application."""

    url: str
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def port(self) -> int:
        """The port of 127.0.0.1 on which it was told to listen."""
        return int(self.url.rpartition(":")[2])

    @property
    def log(self) -> str:
        """Its output on stdout and stderr so far."""
        return self.log_file.read_text(encoding="utf-8")

    def get(self, path: str) -> Answer:
        """The answer to a GET on a new connection."""
        return get(self.port, path)

    def accepts(self) -> bool:
        """Whether a connection succeeds; a stopping server may take a while to refuse it."""
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE),
        ):
            return True
        return False

    def kill(self) -> None:
        """Ends it and its workers at once."""
        if sys.platform == "win32":
            self.process.kill()
        else:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)


servers: list[Server] = []  # running servers: a failed test shows their logs


@contextmanager
def serve(target: str, *flags: str, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server on a free port of 127.0.0.1, until the block ends.

    A `target` like "module:attribute" is an ASGI application, run by uvicorn's own command. A
    target without a colon is a module run by `python -m`. Both get a port, and then the `flags`.

    It blocks, so an async test uses it through a sync fixture.
    """
    port = free_port()
    program = ["uvicorn", target] if ":" in target else [target]
    command = [sys.executable, "-m", *program, "--port", str(port), *flags]
    with TemporaryDirectory() as folder, Path(folder, "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(env),
            stdout=log,
            stderr=log,
            start_new_session=True,  # so that its workers can be ended with it
        )
        server = Server(f"http://127.0.0.1:{port}", process, Path(log.name))
        servers.append(server)
        try:
            wait_until(lambda: process.poll() is not None or server.accepts())
            assert process.poll() is None, f"{target} ended with {process.returncode}"
            yield server
        except BaseException as error:
            error.add_note(f"{' '.join(command)} wrote:\n{server.log}")
            raise
        finally:
            servers.remove(server)
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE / 6)
            server.kill()
            process.wait()


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process that imports the tests and the libraries' sources."""
    path = os.pathsep.join([str(ROOT), str(LIBRARIES)])
    # Bytecode in the folder of the sources would be baked.
    prefix = sys.pycache_prefix or str(ROOT / ".cache" / "bytecode")
    own = {"PYTHONPATH": path, "PYTHONPYCACHEPREFIX": prefix}
    return {**os.environ, **own, **(extra or {})}
