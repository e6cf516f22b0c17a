"""Whole services, each started as its users start it: a bake by its own command, peers by uvicorn.

Unlike the peers of `peers.py`, which serve the bare engine, these have everything that a service
has: limits, deadlines, logs and a client of an upstream.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.serving import PRODUCTION, free_port

from .serving import ROOT, Server, started, wait_until_ready

UVICORN = ("--loop", "uvloop", "--ws", "none", "--no-access-log", "--log-level", "warning")
NOBODY = 1  # a port that nothing listens on: calls of such an upstream are refused


class Service(NamedTuple):
    """A service and how it is started."""

    label: str
    project: Path | None = None  # a baked one
    module: str = ""  # what Python runs; a bake's own package unless given
    application: str = ""  # what uvicorn serves instead
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
        """The variables that it needs; `limits` go by the names of the bake's settings."""
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


# What peers call those settings of the bake that they have: see apps/service_prices.py.
PEERS_NAMES = {
    "PRICES__DEADLINE_SECONDS": "BENCH_DEADLINE",
    "PRICES__TIMEOUT_SECONDS": "BENCH_CALL",
    "PRICES__MAX_CONNECTIONS": "BENCH_CONNECTIONS",
}

FASTAPI = Service("FastAPI", application="benchmarks.apps.service_fastapi:app")
QUART = Service("Quart", application="benchmarks.apps.service_quart:app")


def extended(service: Service) -> Service:
    """The same service with the views that measurements need; peers have them already."""
    return service._replace(module="benchmarks.apps.extended") if service.project else service


@contextmanager
def running(  # noqa: PLR0913 (by keyword, most with a default)
    name: str,
    service: Service,
    *,
    core: int,
    upstream: int = NOBODY,
    limits: Mapping[str, float] | None = None,
    env: Mapping[str, str] | None = None,
    output: int | None = None,
) -> Iterator[Server]:
    """A service that answers; `upstream` is a port.

    It logs to the cache folder, by its `name`, unless it is given a file descriptor to log to.

    Raises:
        BenchError: when it does not start.
    """
    port = free_port()
    variables = service.environment(port, upstream, limits or {})
    variables |= dict(service.variables) | dict(env or {})
    with started(service.command(port), name, core=core, env=variables, output=output) as process:
        wait_until_ready(process, name, port)
        yield Server(process, port)
