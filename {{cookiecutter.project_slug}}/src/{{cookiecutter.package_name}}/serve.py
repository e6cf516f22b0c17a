"""Serves the service with uvicorn, set up for production; `--reload` is for development."""

import argparse
import math
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from . import missing_package

try:
    import uvicorn
    from flask_asgi import STARTUP_FAILURE, HttpProtocol, MetricsServer, run
    from upstreams import SettingsError

    from . import logs
    from .settings import Settings, load_settings
except ModuleNotFoundError as error:
    raise SystemExit(missing_package(error)) from None

PACKAGE = __name__.partition(".")[0]

# In seconds. How long a reload waits for requests in flight: an open stream in a browser must not
# delay it.
RELOAD_GRACE_SECONDS = 1

# In seconds. How long a worker may take to answer its parent, which is the last step of its start.
# The parent kills a worker that takes longer, and starts another.
WORKER_PATIENCE_SECONDS = 60


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, and return once what was in flight is answered.

    Raises `SystemExit`: 2 for a wrong setting or flag, otherwise non-zero for a failed start.
    """
    options = vars(_parser().parse_args(argv))
    reload = options.pop("reload")
    try:
        settings = load_settings(**{name: value for name, value in options.items() if value})
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    logs.configure(settings)
    config = _config(settings, reload=reload)
    with _metrics_served(settings, in_children=reload or config.workers > 1):
        run(config)


def _parser() -> argparse.ArgumentParser:
    # Values stay text here: settings.py checks them, from flags and from the environment.
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


def _metrics_served(settings: Settings, *, in_children: bool) -> AbstractContextManager[object]:
    host, port = settings.metrics_host, settings.metrics_port
    if not port:
        return nullcontext()
    try:
        return MetricsServer(host, port, in_children=in_children)
    except OSError as error:
        sys.stderr.write(f"METRICS_PORT: cannot serve on {host}, port {port}: {error.strerror}.\n")
        sys.exit(STARTUP_FAILURE)


def _config(settings: Settings, *, reload: bool) -> uvicorn.Config:
    grace = RELOAD_GRACE_SECONDS if reload else math.ceil(settings.shutdown_grace_seconds)
    return uvicorn.Config(
        f"{PACKAGE}.asgi:asgi",
        host=settings.host,
        port=settings.port,
        workers=1 if reload else settings.web_concurrency,
        reload=reload,
        reload_dirs=str(Path(__file__).parent) if reload else None,
        lifespan="on",  # a failed start-up must stop the server
        ws="none",
        http=HttpProtocol,
        access_log=False,  # logs.py writes a better line
        log_config=None,
        server_header=False,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=grace,
        timeout_worker_healthcheck=WORKER_PATIENCE_SECONDS,
    )
