"""Whole services, each started as its users start it: a bake by its own command, peers by uvicorn.

Unlike the peers of `peers.py`, which serve the bare engine, these have everything that a service
has: limits, deadlines, logs and a client of an upstream.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .serving import ROOT, Server, free_port, started, wait_until_ready

UVICORN = ("--loop", "uvloop", "--ws", "none", "--no-access-log", "--log-level", "warning")
NOBODY = 1  # a port that nothing listens on: calls of such an upstream are refused


class Service(NamedTuple):
    """A service and how it is started."""

    label: str
    project: Path | None = None  # a baked one
    application: str = ""  # what uvicorn serves; a bake has a command of its own without it
    parser: str = "httptools"

    def command(self, port: int) -> list[str]:
        """The command that serves it on this port."""
        python = str(self.project / ".venv/bin/python") if self.project else sys.executable
        if self.project and not self.application:
            return [python, "-m", package(self.project)]
        return [
            *(python, "-m", "uvicorn", "--port", str(port), "--http", self.parser),
            *(*UVICORN, self.application),
        ]

    def environment(self, port: int, upstream: int) -> dict[str, str]:
        """The variables that it needs."""
        url = f"http://127.0.0.1:{upstream}"
        if not self.project:
            return {"PYTHONPATH": str(ROOT), "BENCH_UPSTREAM": url}
        production = {"ENVIRONMENT": "production", "PRICES_BASE_URL": url}
        return production | {"HOST": "127.0.0.1", "PORT": str(port)}


def package(project: Path) -> str:
    """The name of a baked project's package."""
    return next((project / "src").glob("*/serve.py")).parent.name


@contextmanager
def running(
    name: str,
    service: Service,
    *,
    core: int,
    upstream: int = NOBODY,
    env: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """A service that answers; `upstream` is a port. It logs to the cache folder, by its `name`.

    Raises:
        BenchError: when it does not start.
    """
    port = free_port()
    variables = service.environment(port, upstream) | dict(env or {})
    with started(service.command(port), name, core=core, env=variables) as process:
        wait_until_ready(process, name, port)
        yield Server(process, port)
