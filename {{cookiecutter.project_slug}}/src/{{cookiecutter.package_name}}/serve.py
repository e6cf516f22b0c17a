"""Serves the service with uvicorn, set up for production; `--reload` is for development."""

import argparse
import asyncio
import math
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from socket import socket
from types import FrameType

from .missing import missing_package

try:
    import uvicorn
    from uvicorn.config import STARTUP_FAILURE
    from uvicorn.supervisors import ChangeReload, Multiprocess

    from . import logs
    from .readiness import SAME_STOP_SECONDS, end_by
    from .settings import Settings, SettingsError, load_settings
except ModuleNotFoundError as error:
    raise SystemExit(missing_package(error)) from None

PACKAGE = __name__.partition(".")[0]

# How long a change of the source waits for requests in flight: a stream left open in a browser must
# not hold it up. In seconds.
RELOAD_GRACE_SECONDS = 1

# How long a request may need from the client's connection to its first byte.
ON_ITS_WAY_SECONDS = 0.1


class Server(uvicorn.Server):
    """A server that a signal ends with exit code 0: uvicorn's own ends by the signal."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Stop, and do not raise the signal once more."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Accept no more connections, answer what has come on those that there are, and close them.

        uvicorn's own closes at once a connection on which no request has arrived yet, also one
        that it accepted a moment ago, whose request is on its way.
        """
        for listener in self.servers:
            listener.close()
        await asyncio.sleep(ON_ITS_WAY_SECONDS)
        await super().shutdown(sockets)


def main(argv: Sequence[str] | None = None, server: type[Server] = Server) -> None:
    """Serve until SIGTERM or SIGINT, and return once what was in flight is answered.

    With more than one worker, each has a server of uvicorn's own instead of `server`.

    Raises `SystemExit`: 2 for a wrong setting or flag, else non-zero for a failed start.
    """
    options = vars(_parser().parse_args(argv))
    reload = options.pop("reload")
    try:
        settings = load_settings(**{name: value for name, value in options.items() if value})
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    logs.configure(settings)
    _run(_config(settings, reload=reload), server)


def _parser() -> argparse.ArgumentParser:
    # Values stay text here: settings.py checks them, whichever way they come.
    parser = argparse.ArgumentParser(prog=f"python -m {PACKAGE}", description=__doc__)
    parser.add_argument("--host", help="the address to listen on, instead of HOST")
    parser.add_argument("--port", help="the TCP port to listen on, instead of PORT")
    parser.add_argument(
        "--workers",
        dest="web_concurrency",
        metavar="WORKERS",
        help="the number of worker processes, instead of WEB_CONCURRENCY",
    )
    parser.add_argument(
        "--reload", action="store_true", help="start again, with one worker, when a source changes"
    )
    return parser


def _config(settings: Settings, *, reload: bool) -> uvicorn.Config:
    grace = RELOAD_GRACE_SECONDS if reload else math.ceil(settings.shutdown_grace_seconds)
    return uvicorn.Config(
        f"{PACKAGE}.asgi:asgi",
        host=settings.host,
        port=settings.port,
        workers=1 if reload else settings.web_concurrency,
        reload=reload,
        reload_dirs=str(Path(__file__).parent) if reload else None,
        lifespan="on",  # a start-up that fails must stop the server
        ws="none",
        access_log=False,  # logs.py writes a better line
        log_config=None,
        server_header=False,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=grace,
    )


def _run(config: uvicorn.Config, server: type[Server]) -> None:
    if config.reload:
        ChangeReload(config, target=server(config).run, sockets=[config.bind_socket()]).run()
        return
    # A supervisor starts a worker that fails to import again and again, so it fails here first.
    config.load_app()
    if config.workers == 1:
        server(config).run()
        return
    supervisor = _Supervisor(config, sockets=[config.bind_socket()])
    supervisor.run()
    if any(worker.process.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
        sys.exit(STARTUP_FAILURE)


class _Supervisor(Multiprocess):
    """A parent of workers that a second signal ends at once, and its workers with it."""

    stopped_at: float | None = None

    def __init__(self, config: uvicorn.Config, sockets: list[socket]) -> None:
        super().__init__(config, sockets)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.on_stop)

    def on_stop(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.stopped_at is None:
            self.stopped_at = now
            self.signal_queue.append(number)
        elif now - self.stopped_at >= SAME_STOP_SECONDS:
            for worker in self.processes:
                worker.process.kill()
                worker.process.join()
            end_by(number)
