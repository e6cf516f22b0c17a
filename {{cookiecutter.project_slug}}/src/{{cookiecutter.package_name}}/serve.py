"""Serves the service with uvicorn, set up for production; `--reload` is for development."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import missing_package

try:
    from upstreams import SettingsError

    from . import logs
    from .settings import load_settings
except ModuleNotFoundError as error:
    raise SystemExit(missing_package(error)) from None

PACKAGE = __name__.partition(".")[0]


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
    settings.serve(f"{PACKAGE}.asgi:asgi", reload_dir=Path(__file__).parent if reload else None)


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
