"""Whole services, started in their usual way: a bake by its own command, peers by uvicorn.

The peers of `peers.py` serve the bare engine. These have all parts of a service: limits, deadlines,
logs and a client of an upstream.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.serving import PRODUCTION, free_port

from .serving import ROOT, Server, started, wait_until_ready

UVICORN = ("--loop", "uvloop", "--ws", "none", "--no-access-log", "--log-level", "warning")
CLOSED_PORT = 1  # a port without a server: calls of this upstream are refused


class Service(NamedTuple):
    """A service and its start."""

    label: str
    project: Path | None = None  # of a bake
    module: str = ""  # the module that Python runs; by default a bake's own package
    application: str = ""  # the application that uvicorn serves instead
    options: tuple[str, ...] = ()  # of uvicorn
    variables: tuple[tuple[str, str], ...] = ()  # of its environment

    def command(self, port: int) -> list[str]:
        """The command that serves it on this port."""
        python = str(self.project / ".venv/bin/python") if self.project else sys.executable
        if self.application:
            uvicorn = ("uvicorn", "--port", str(port), *UVICORN, *self.options)
            return [python, "-m", *uvicorn, self.application]
        return [python, "-m", self.module or "price_service"]

    def environment(self, port: int, upstream: int, limits: Mapping[str, float]) -> dict[str, str]:
        """Its variables; the names in `limits` are the bake's settings."""
        url = f"http://127.0.0.1:{upstream}"
        if not self.project:
            known = {PEERS_NAMES[name]: str(limits[name]) for name in PEERS_NAMES if name in limits}
            return {"PYTHONPATH": str(ROOT), "BENCH_UPSTREAM": url} | known
        return PRODUCTION | {
            "PYTHONPATH": str(ROOT),
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "PRICES__BASE_URL": url,
            **{name: str(value) for name, value in limits.items()},
        }


# The peers' names of the bake's settings: see apps/service_prices.py.
PEERS_NAMES = {
    "PRICES__DEADLINE_SECONDS": "BENCH_DEADLINE",
    "PRICES__TIMEOUT_SECONDS": "BENCH_CALL",
    "PRICES__MAX_CONNECTIONS": "BENCH_CONNECTIONS",
}

FASTAPI = Service("FastAPI", application="benchmarks.apps.service_fastapi:app")
QUART = Service("Quart", application="benchmarks.apps.service_quart:app")


def extended(service: Service) -> Service:
    """The same service with the views for the measurements; peers have them already."""
    return service._replace(module="benchmarks.apps.extended") if service.project else service


@contextmanager
def running(  # noqa: PLR0913 (by keyword, most with a default)
    name: str,
    service: Service,
    *,
    core: int,
    upstream: int = CLOSED_PORT,
    limits: Mapping[str, float] | None = None,
    env: Mapping[str, str] | None = None,
    output: int | None = None,
) -> Iterator[Server]:
    """Runs a service until the block ends; `upstream` is a port.

    It logs to the file `name` in the cache folder, or to the given file descriptor.

    Raises:
        BenchError: it does not start.
    """
    port = free_port()
    variables = service.environment(port, upstream, limits or {})
    variables |= dict(service.variables) | dict(env or {})
    with started(service.command(port), name, core=core, env=variables, output=output) as process:
        wait_until_ready(process, name, port)
        yield Server(process, port)
