"""Runs uvicorn as its configuration says: one process, several workers, or a reloader."""

import sys

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import ChangeReload

from ._server import Server, Supervisor


def run(config: uvicorn.Config) -> None:
    """Serve until a signal, and return once what was in flight is answered.

    Raises `SystemExit`: `STARTUP_FAILURE` for an application that cannot start, in one worker too.
    """
    if config.reload:
        ChangeReload(config, target=Server(config).run, sockets=[config.bind_socket()]).run()
        return
    # A supervisor starts a worker that fails to import again and again, so it fails here first.
    config.load_app()
    if config.workers == 1:
        Server(config).run()
        return
    supervisor = Supervisor(config, sockets=[config.bind_socket()])
    supervisor.run()
    if any(worker.process.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
        sys.exit(STARTUP_FAILURE)
