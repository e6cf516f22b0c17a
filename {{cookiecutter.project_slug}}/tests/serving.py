"""Starts services as real processes, the way a user would, and stops them again."""

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

PACKAGE = "{{ cookiecutter.package_name }}"
ROOT = Path(__file__).parents[1]
PATIENCE = 60.0  # seconds; only a failing test waits that long

running: "list[Server]" = []  # conftest.py adds their logs to a failure's report


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        """Its output on stdout and stderr so far."""
        return self.log_file.read_text(encoding="utf-8")

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of a request on a new connection."""
        with closing(self.connect()) as client:
            client.request("GET", path)
            response = client.getresponse()
            return response.status, response.read().decode()

    def connect(self) -> HTTPConnection:
        """Return a new connection, for several requests in sequence."""
        return HTTPConnection(self.url.removeprefix("http://"), timeout=PATIENCE)

    def kill(self) -> None:
        """End it and its workers at once."""
        if sys.platform == "win32":
            self.process.kill()
        else:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def accepts(self) -> bool:
        """Tell whether a connection succeeds. A stopping service may take a second to refuse it."""
        host, port = self.url.removeprefix("http://").split(":")
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=PATIENCE):
            return True
        return False


@contextmanager
def serve(
    target: str = PACKAGE, *flags: str, env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Serve `target` on a free port of 127.0.0.1 until the block ends.

    A `target` like "module:attribute" is an ASGI application, which uvicorn runs with `flags`. A
    target without a colon is a module that `python -m` runs with `flags`, such as the service.

    It blocks, so an async test uses it through a sync fixture.
    """
    port = free_port()
    program = ["uvicorn", target] if ":" in target else [target]
    command = [sys.executable, "-m", *program, "--port", str(port), *flags]
    with TemporaryDirectory() as folder, Path(folder, "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - the command is ours
            command,
            cwd=folder,
            env=environment(env),
            stdout=log,
            stderr=log,
            start_new_session=True,  # so that its workers can be ended with it
        )
        server = Server(f"http://127.0.0.1:{port}", process, Path(log.name))
        running.append(server)
        try:
            wait_until(lambda: process.poll() is not None or server.accepts())
            assert process.poll() is None, f"{target} ended with {process.returncode}"
            yield server
        except BaseException as error:
            error.add_note(f"{' '.join(command)} wrote:\n{server.log}")
            raise
        finally:
            running.remove(server)
            _stop(server)


def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `python` with `arguments` to its end, for a service that ends by itself."""
    with TemporaryDirectory() as folder:
        return subprocess.run(  # noqa: S603 - the command is ours
            [sys.executable, *arguments],
            cwd=folder,
            env=environment(env),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


def environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    """Return this process's environment, which `isolation.py` has cleaned, with `extra`."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **(extra or {})}


def free_port() -> int:
    """Return a port of 127.0.0.1 that no server listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def wait_until(condition: Callable[[], object]) -> None:
    """Return as soon as `condition` is true; fail when that takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def _stop(server: Server) -> None:
    server.process.terminate()
    with suppress(subprocess.TimeoutExpired):
        server.process.wait(PATIENCE / 2)
    server.kill()
    server.process.wait()
