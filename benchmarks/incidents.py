"""Causes incidents in a real service that a real Prometheus scrapes.

The tests check the alerts, and `incident_plots.py` draws the data of Prometheus.

Rules look back over minutes and hours. Here a second replaces a minute: the windows and waits of
the rules are divided by 60, and Prometheus scrapes once a second. The rest of the rules is
unchanged.
"""

import asyncio
import json
import os
import random
import re
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tests.serving import free_port

UNITS = {"m": 60, "h": 3600, "d": 86400}  # seconds
SHORTER = 60
PATIENCE = 60.0  # seconds within which an incident must make its alerts fire
BEFORE = 5.0  # seconds of normal traffic before an incident
PER_SECOND = 20  # normal requests

# The service, with views for the incidents, and with a broken release.
SERVING = """
import asyncio, os, time
from flask import request
from price_service import serve
from price_service.asgi import asgi

app, kept = asgi.app, []


@app.get("/sleep")
async def sleep():
    await asyncio.sleep(1)
    return ""


@app.get("/thread")
def thread():
    time.sleep(0.5)
    return ""


@app.get("/block")
async def block():
    time.sleep(8)
    return ""


@app.get("/leak")
async def leak():
    kept.append(b"x" * 2_000_000)
    return ""


async def broken():
    return {}["missing"]


if os.environ.get("RELEASE") == "broken":
    app.view_functions["prices.prices"] = broken

serve.main(["--workers", "1"])
"""


def shorter(rules: str) -> str:
    """The rules with every window and wait divided by 60, in whole seconds."""

    def divided(found: re.Match[str]) -> str:
        before, number, unit, after = found.groups()
        return f"{before}{int(number) * UNITS[unit] // SHORTER}s{after}"

    return re.sub(r"(\[|\bfor: )(\d+)([mhd])(\]|$)", divided, rules, flags=re.MULTILINE)


class Prometheus:
    """A Prometheus that scrapes one target once a second. It runs within its block.

    Args:
        rules: the service's file with the rules.
        target: the port of 127.0.0.1 with the metrics.
    """

    def __init__(self, rules: Path, target: int) -> None:
        self._rules = shorter(rules.read_text(encoding="utf-8"))
        self._target = target
        self._port = free_port()
        self._since = 0.0  # earlier alerts only say that the target is missing

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Prometheus"]:
        """The Prometheus, ready for queries."""
        config = {
            "global": {
                "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "evaluation_interval": "1s",
            },
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                {
                    "job_name": "price-service",
                    "static_configs": [{"targets": [f"127.0.0.1:{self._target}"]}],
                }
            ],
        }
        with TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")
            (folder / "rules.yaml").write_text(self._rules, encoding="utf-8")
            command = [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ]
            with (folder / "log").open("wb") as log:
                process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: ASYNC220 - quick
            try:
                await asyncio.to_thread(_wait_for, self._port, "/-/ready", process, folder / "log")
                yield self
            finally:
                process.terminate()
                process.wait()

    async def settle(self) -> None:
        """Waits until it scrapes its target with success."""
        deadline = time.monotonic() + PATIENCE
        while not self.query("up == 1") or self.query("ALERTS"):
            if time.monotonic() > deadline:
                message = "Prometheus does not scrape the service, or an alert is pending."
                raise RuntimeError(message)
            await asyncio.sleep(0.2)
        self._since = time.time()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The current series of an expression."""
        return self._ask("query", query=expression)

    def between(self, expression: str, start: float, end: float) -> list[dict[str, Any]]:
        """The series of an expression, with a value for each second."""
        return self._ask("query_range", query=expression, start=start, end=end, step=1)

    def fired(self) -> set[str]:
        """The names of all alerts that have fired so far."""
        seconds = max(1, int(time.time() - self._since))
        found = self.query(f'max_over_time(ALERTS{{alertstate="firing"}}[{seconds}s])')
        return {each["metric"]["alertname"] for each in found}

    def _ask(self, what: str, **parameters: object) -> list[dict[str, Any]]:
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)) as connection:
            connection.request("GET", f"/api/v1/{what}?{urlencode(parameters)}")
            answer = json.loads(connection.getresponse().read())
        return list(answer["data"]["result"])


class Upstream:
    """An upstream on a port of 127.0.0.1, whose delay and status an incident changes."""

    def __init__(self) -> None:
        self.port = free_port()
        self.delay, self.status = 0.05, 200  # seconds
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Answers until it is cancelled."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            for task in self._connections:
                task.cancel()
            if self._connections:
                await asyncio.wait(self._connections)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connection(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError), closing(writer):
            while request := await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(self.delay)
                symbol = request.split(b" ", 2)[1].decode().rpartition("/")[2]
                body = json.dumps({"symbol": symbol, "price": 101.5}).encode()
                head = f"HTTP/1.1 {self.status} -\r\nContent-Type: application/json\r\n"
                writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


@dataclass
class Scene:
    """The objects of an incident: a service, its upstream, and the requests."""

    project: Path
    settings: dict[str, str]
    port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)
    upstream: Upstream = field(default_factory=Upstream)
    process: subprocess.Popen[bytes] | None = None

    def start(self, **settings: str) -> None:
        """Starts the service; returns once it is ready."""
        env = {
            **os.environ,
            "ENVIRONMENT": "development",
            "LOG_LEVEL": "ERROR",
            "PORT": str(self.port),
            "METRICS_PORT": str(self.metrics_port),
            "PRICES__BASE_URL": f"http://127.0.0.1:{self.upstream.port}",
            **self.settings,
            **settings,
        }
        program = self.project / ".venv" / "bin" / "python"
        log = self.project.parent / f"incident-{self.port}.log"
        with log.open("wb") as file:  # an unread pipe would stop the service
            self.process = subprocess.Popen(
                [program, "-c", SERVING], cwd=self.project, env=env, stdout=file, stderr=file
            )
        _wait_for(self.port, "/readyz", self.process, log)

    def stop(self) -> None:
        """Ends the service at once."""
        if self.process:
            self.process.kill()
            self.process.wait()

    async def ask(self, path: str) -> None:
        """Sends a request, and reads the answer if it arrives."""
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                writer.write(request.encode())
                await reader.read()
            finally:
                writer.close()

    @asynccontextmanager
    async def traffic(self, path: Callable[[], str], per_second: float) -> AsyncIterator[None]:
        """Sends `per_second` requests a second within the block, however slow the answers are."""
        asked: set[asyncio.Task[None]] = set()

        async def send() -> None:
            while True:
                task = asyncio.create_task(self.ask(path()))
                asked.add(task)
                task.add_done_callback(asked.discard)
                await asyncio.sleep(1 / per_second)

        sender = asyncio.create_task(send())
        try:
            yield
        finally:
            for task in (sender, *asked):
                task.cancel()
            await asyncio.wait({sender, *asked})


def _prices() -> str:
    # Many symbols, as identical concurrent calls would be shared.
    return f"/prices?symbol=A{random.randrange(1_000_000)}"  # noqa: S311 - no secret


def _wait_for(port: int, path: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        connection = HTTPConnection("127.0.0.1", port, timeout=1)
        with suppress(OSError), closing(connection):
            connection.request("GET", path)
            with connection.getresponse() as answer:
                if answer.status == HTTPStatus.OK:
                    return
        time.sleep(0.05)
    message = f"It does not answer at {path}:\n{log.read_text(encoding='utf-8')}"
    raise RuntimeError(message)


# The incidents


@asynccontextmanager
async def slow_upstream(scene: Scene) -> AsyncIterator[None]:
    """Each call takes 1.5 s, which needs 30 connections; the limit is 25."""
    before, scene.upstream.delay = scene.upstream.delay, 1.5
    yield
    scene.upstream.delay = before


@asynccontextmanager
async def failing_upstream(scene: Scene) -> AsyncIterator[None]:
    """Each call gets 500."""
    scene.upstream.status = 500
    yield
    scene.upstream.status = 200


@asynccontextmanager
async def blocked_loop(scene: Scene) -> AsyncIterator[None]:
    """A view blocks the loop for 8 s, again and again."""
    async with scene.traffic(lambda: "/block", 1 / 15):
        yield


@asynccontextmanager
async def overload(scene: Scene) -> AsyncIterator[None]:
    """80 requests arrive per second; 20 may be in flight and 5 in a thread."""
    async with scene.traffic(lambda: random.choice(("/sleep", "/thread")), 80):  # noqa: S311
        yield


@asynccontextmanager
async def leak(scene: Scene) -> AsyncIterator[None]:
    """5 requests arrive per second, each of which leaks 2 MB."""
    async with scene.traffic(lambda: "/leak", 5):
        yield


@asynccontextmanager
async def bad_deployment(scene: Scene) -> AsyncIterator[None]:
    """A new release starts, fails every request, and is killed twice."""
    for _ in range(3):
        scene.stop()
        await asyncio.to_thread(scene.start, RELEASE="broken")
        await asyncio.sleep(3)  # Prometheus scrapes it in this time
    yield
    scene.stop()
    await asyncio.to_thread(scene.start)


class Incident(NamedTuple):
    """An incident, the alerts that must fire, and the alerts that may fire."""

    happens: Callable[[Scene], AbstractAsyncContextManager[None]]
    must: set[str]
    may: set[str]
    settings: Mapping[str, str] = MappingProxyType({})


# A run is shorter than the windows of days, so a fast burn also counts as a slow burn.
ERRORS, SLOW = {"ErrorBudgetBurnSlow"}, {"LatencyBudgetBurnSlow"}
FAST = {"ErrorBudgetBurnFast", "LatencyBudgetBurnFast"}

INCIDENTS = {
    "slow-upstream": Incident(
        slow_upstream,
        {"LatencyBudgetBurnFast", "UpstreamConnectionsExhausted"},
        # Calls that wait too long for a connection fail, and then the breaker opens.
        SLOW | ERRORS | {"ErrorBudgetBurnFast", "UpstreamFailing", "UpstreamBreakerOpen"},
        {"PRICES__MAX_CONNECTIONS": "25"},
    ),
    "failing-upstream": Incident(
        failing_upstream, {"UpstreamFailing", "UpstreamBreakerOpen", "ErrorBudgetBurnFast"}, ERRORS
    ),
    "blocked-loop": Incident(
        blocked_loop,
        {"EventLoopBlocked", "EventLoopLate"},
        # In this time calls exceed their deadlines, and requests that waited too long are shed.
        SLOW | ERRORS | FAST | {"RequestsShed", "UpstreamFailing"},
    ),
    "overload": Incident(
        overload,
        {"RequestsNearLimit", "RequestsShed", "ThreadsExhausted", "ErrorBudgetBurnFast"},
        ERRORS | SLOW | {"LatencyBudgetBurnFast"},
        {"MAX_IN_FLIGHT": "20", "WORKER_THREADS": "5"},
    ),
    "leak": Incident(leak, {"MemoryNearLimit"}, set()),
    "bad-deployment": Incident(
        bad_deployment,
        {"ErrorBudgetBurnFast", "Restarting"},
        # It is the only process: during its start no process runs. A start keeps the processor
        # busy, and in such a short window one late tick is one in fifty.
        ERRORS | {"ServiceAbsent", "InstanceDown", "EventLoopLate"},
    ),
}


class Seen(NamedTuple):
    """The alerts before an incident and in total, and the time of the incident."""

    before: set[str]
    fired: set[str]
    began: float
    ended: float


@asynccontextmanager
async def watched(
    project: Path, settings: Mapping[str, str]
) -> AsyncIterator[tuple[Scene, Prometheus]]:
    """A service and its upstream with normal traffic, and a Prometheus with the service's rules.

    Args:
        project: a baked service with an environment.
        settings: further settings of the service.
    """
    scene = Scene(project, dict(settings))
    rules = project / "deploy" / "observability" / "rules.yaml"
    serving = asyncio.create_task(scene.upstream.serve())
    try:
        # Prometheus needs a while to find its target; by then the service has started.
        async with Prometheus(rules, scene.metrics_port).running() as prometheus:
            await asyncio.to_thread(scene.start)
            async with scene.traffic(_prices, PER_SECOND):
                yield scene, prometheus
    finally:
        scene.stop()
        serving.cancel()
        await asyncio.wait({serving})


async def run(
    incident: Incident,
    scene: Scene,
    prometheus: Prometheus,
    *,
    before: float = BEFORE,
    seconds: float = 0,
) -> Seen:
    """Runs an incident until its alerts have fired, and for at least this many seconds."""
    await prometheus.settle()
    await asyncio.sleep(before)
    already = await asyncio.to_thread(prometheus.fired)
    began, start = time.time(), time.monotonic()
    fired: set[str] = set()
    async with incident.happens(scene):
        while not incident.must <= fired or time.monotonic() < start + seconds:
            if time.monotonic() > start + PATIENCE:
                break
            await asyncio.sleep(0.5)
            fired = await asyncio.to_thread(prometheus.fired)
        ended = time.time()
    return Seen(already, await asyncio.to_thread(prometheus.fired), began, ended)


async def observed(project: Path, incident: Incident) -> Seen:
    """The alerts of an incident in a baked service with an environment."""
    async with watched(project, incident.settings) as (scene, prometheus):
        return await run(incident, scene, prometheus)
