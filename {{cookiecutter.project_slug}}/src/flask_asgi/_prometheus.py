"""Serves the metrics of prometheus-client, of one process or of several, on a separate port."""

import gc
import logging
import os
import re
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from shutil import rmtree
from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import (
    PLATFORM_COLLECTOR,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Metric,
    ProcessCollector,
    make_wsgi_app,
)
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger(__name__)

# The variable that makes prometheus-client keep its values in files. The package reads it at import
# time: processes that are started later keep files, and this process does not.
DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

# Seconds that a scraper may be silent before its connection is closed.
SCRAPER_PATIENCE = 10

# The errors of reading a file while another process writes to it, and how often to try.
BEING_WRITTEN = (struct.error, ValueError, RuntimeError)
READS = 5

_OF_PROCESS = re.compile(r"(?P<kind>counter|histogram|summary|gauge_[a-z]+)_(?P<pid>\d+)\.db")

# prometheus-client has no types for these.
_Values: Any = MmapedDict
_merge: Callable[[list[str]], Iterable[Metric]] = MultiProcessCollector.merge


class MetricsServer:
    """Serves `/metrics` from a thread, so that it also answers while the event loop is blocked.

    It listens as soon as it exists, and serves within its block.

    With ``in_children``, the metrics are those of the processes that this one starts within the
    block with `multiprocessing`. Their values are added up, including those of processes that have
    ended, except for gauges of a ``live...`` mode. The processes write into a temporary directory,
    which is removed at the end of the block.

    Args:
        host: the address to listen on.
        port: the TCP port.
        in_children: whether child processes serve the requests, and not this process.

    Raises:
        OSError: the port is taken, the machine does not have the address, or the directory cannot
            be made.
    """

    def __init__(self, host: str, port: int, *, in_children: bool = False) -> None:
        os.environ.pop(DIRECTORY, None)  # a shared directory would mix the values of two services
        self._server = _listen(host, port)
        self._directory: Path | None = None
        registry = REGISTRY
        if in_children:
            try:
                self._directory = Path(tempfile.mkdtemp(prefix="metrics-"))
            except OSError:
                self._server.server_close()
                raise
            registry = CollectorRegistry(support_collectors_without_names=True)
            registry.register(_Children(self._directory))
            registry.register(_Processes())
            registry.register(PLATFORM_COLLECTOR)
        self._server.set_app(_only_metrics(make_wsgi_app(registry)))
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return self._server.server_port

    def __enter__(self) -> Self:
        """Serve until the end of the block."""
        if self._directory is not None:
            os.environ[DIRECTORY] = str(self._directory)
        self._thread.start()
        logger.info("Metrics on http://%s:%d/metrics", self._server.server_name, self.port)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the port, and remove the directory."""
        self._server.shutdown()
        self._server.server_close()
        if self._directory is not None:
            os.environ.pop(DIRECTORY, None)
            rmtree(self._directory, ignore_errors=True)


class GarbageCounters:
    """The counters of the garbage collector for processes whose values are kept in files.

    prometheus-client has counters of the same names for a process that serves its own metrics.
    """

    def __init__(self) -> None:
        meanings = {
            "collected": "Objects collected during gc",
            "uncollectable": "Uncollectable objects found during GC",
        }
        counters = {
            name: Counter(f"python_gc_objects_{name}", meaning, ["generation"], registry=None)
            for name, meaning in meanings.items()
        }
        counters["collections"] = Counter(
            "python_gc_collections",
            "Number of times this generation was collected",
            ["generation"],
            registry=None,
        )
        self._counters = [
            (number, name, counter.labels(number))
            for number in range(len(gc.get_stats()))
            for name, counter in counters.items()
        ]
        self._counted: dict[tuple[int, str], int] = {}

    def refresh(self) -> None:
        """Add the collections since the last call.

        A callback of the collector would not do: it would run in the middle of any code, and could
        wait for a lock that this code holds.
        """
        if DIRECTORY not in os.environ:
            return
        stats = gc.get_stats()
        for number, name, counter in self._counters:
            value = stats[number][name]
            counter.inc(value - self._counted.get((number, name), 0))
            self._counted[number, name] = value


# Of processes whose values are kept in files


class _Children(Collector):
    """The metrics that other processes have written into a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        with self._lock:  # one scrape at a time moves the values of processes that have ended
            # Files first, children second: a process is among the children before it has a file.
            files = list(self._directory.glob("*.db"))
            alive = {process.pid for process in active_children()}
            for file in files:
                match = _OF_PROCESS.fullmatch(file.name)
                if match is not None and int(match["pid"]) not in alive:
                    self._keep_values(file, match["kind"])
            return self._read()

    def _keep_values(self, file: Path, kind: str) -> None:
        """Add the values of a process that has ended to the file for all ended processes.

        Otherwise a service whose workers are killed repeatedly would fill the disk.
        """
        if kind.startswith("gauge"):
            if kind.startswith("gauge_live"):
                file.unlink()
            return
        try:
            values = list(_Values.read_all_values_from_file(file))
        except BEING_WRITTEN:  # the process was killed while it wrote
            values = []
        total = _Values(str(self._directory / f"{kind}_ended.db"))
        for key, value, *_ in values:
            total.write_value(key, total.read_value(key)[0] + value, 0.0)
        total.close()
        file.unlink()

    def _read(self) -> Iterable[Metric]:
        for attempt in range(1, READS + 1):
            with suppress(*(BEING_WRITTEN if attempt < READS else ())):
                # A process opens a file before it gives it its first page: until then it is empty.
                written = [file for file in self._directory.glob("*.db") if file.stat().st_size]
                return _merge([str(file) for file in written])
        raise AssertionError  # the last attempt returns or raises


class _Processes(Collector):
    """The usual metrics of a process, summed over this one and those that it has started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spent: dict[int, float] = {}  # seconds of processor time by process

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            pids = [os.getpid(), *(process.pid for process in active_children() if process.pid)]
            found: dict[str, tuple[Metric, dict[int, float]]] = {}
            for pid in pids:
                collector = ProcessCollector(pid=partial(int, pid), registry=None)
                for metric in collector.collect():
                    for sample in metric.samples:
                        _, values = found.setdefault(sample.name, (metric, {}))
                        values[pid] = sample.value
            return [self._total(metric, values) for metric, values in found.values()]

    def _total(self, metric: Metric, values: dict[int, float]) -> Metric:
        sample = metric.samples[0]
        if metric.type == "counter":
            self._spent.update(values)  # the seconds of an ended process still count
            total = sum(self._spent.values())
        else:
            is_time = sample.name.endswith("start_time_seconds")
            total = min(values.values()) if is_time else sum(values.values())
        metric.samples = [sample._replace(value=total)]
        return metric


# The server


class _Handler(WSGIRequestHandler):
    timeout = SCRAPER_PATIENCE

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - the standard library's
        """Do not log each scrape."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # on Windows another program could take the port

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's own looks up the host's name in DNS
        host, self.server_port = self.socket.getsockname()[:2]
        self.server_name = f"[{host}]" if ":" in host else host
        self.setup_environ()

    def handle_error(self, *_: Any) -> None:  # noqa: ANN401 - the standard library's
        """Log an error, unless it is a scraper's disconnect."""
        if not isinstance(sys.exception(), OSError):
            logger.error("a scrape failed", exc_info=True)  # noqa: LOG014 - it is being handled


def _listen(host: str, port: int) -> _Server:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, *_, address = found[0]

    class Server(_Server):
        address_family = family

    return make_server(str(address[0]), port, _nothing, Server, handler_class=_Handler)


def _nothing(_environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
    return [b"The metrics are at /metrics.\n"]


def _only_metrics(metrics: "WSGIApplication") -> "WSGIApplication":
    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        asked = metrics if environ["PATH_INFO"] == "/metrics" else _nothing
        return asked(environ, start_response)

    return application
