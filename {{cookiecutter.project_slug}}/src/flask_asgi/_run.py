"""Runs uvicorn by its configuration: in one process, with several workers, or with a reloader."""

import sys

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import ChangeReload

from ._server import Server, Supervisor


def run(config: uvicorn.Config) -> None:
    """Serve until a signal, and return once the requests in flight are answered.

    Raises `SystemExit`: `STARTUP_FAILURE` if the application cannot start, in one worker too.
    """
    if config.reload:
        ChangeReload(config, target=Server(config).run, sockets=[config.bind_socket()]).run()
        return
    # A supervisor would restart a worker whose import fails for ever, so import it here first.
    config.load_app()
    if config.workers == 1:
        Server(config).run()
        return
    supervisor = Supervisor(config, sockets=[config.bind_socket()])
    supervisor.run()
    if any(worker.process.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
        sys.exit(STARTUP_FAILURE)
