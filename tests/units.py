"""Runs a baked service as the units in `deploy/systemd` do; the test acts as systemd."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from .serving import PATIENCE

# The steps of systemd between fork and exec: sd_listen_fds(3).
LAUNCHER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[2], sys.argv[2:])
"""


class Unit:
    """A service whose socket stays open while it restarts, like that of a socket unit."""

    def __init__(self, folder: Path, env: Mapping[str, str], *command: str | Path) -> None:
        """`command` begins with the path of a program; `folder` is a new folder."""
        folder.mkdir()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port = int(self.listener.getsockname()[1])
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(str(folder / "notify"))
        self.notified.settimeout(PATIENCE)
        self.folder = folder
        self.env = {**os.environ, **env, "NOTIFY_SOCKET": str(folder / "notify")}
        self.command = [str(part) for part in command]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when the service reports that it is ready, like the start of a notify unit."""
        descriptor = self.listener.fileno()
        self._forget()
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", LAUNCHER, str(descriptor), *self.command],
                cwd=self.folder,
                env=self.env,
                pass_fds=[descriptor],
                stdout=log,
                stderr=log,
            )
        try:
            assert self.notified.recv(100) == b"READY=1"
        except TimeoutError:
            raise AssertionError((self.folder / "log").read_text()) from None

    def stop(self) -> None:
        """Stops the service with SIGTERM; the socket stays."""
        if self.process:
            self.process.terminate()
            # A stop may take twice the grace of 30 s: for requests, and for background work.
            status = self.process.wait(2 * PATIENCE)
            self.process = None
            assert status == 0

    def restart(self) -> None:
        """Stops and starts the service."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Ends the process and closes the sockets."""
        if self.process:
            self.process.kill()
            self.process.wait()
        self.listener.close()
        self.notified.close()

    def _forget(self) -> None:
        """Discards the notifications of the last process."""
        self.notified.settimeout(0)
        with suppress(BlockingIOError):
            while self.notified.recv(100):
                pass
        self.notified.settimeout(PATIENCE)


def missing(*programs: str) -> list[str]:
    """Those of the system's programs that are not installed."""
    return [program for program in programs if not shutil.which(program)]
