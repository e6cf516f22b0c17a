"""Serves the generated service in each mode of `observing`, under Valgrind: see `counting`.

It runs in the environment of a bake with the extra `otel`. Each case serves by the service's own
command. The client is another process, which Valgrind does not run: `steady_client`.
"""

import json
import os
import random
import subprocess
import sys
from typing import Any

# Imported here once, instead of in each case.
import httptools  # noqa: F401
import opentelemetry.exporter.otlp.proto.http.trace_exporter
import opentelemetry.sdk.trace  # noqa: F401
import upstreams._spans  # noqa: F401
import uvloop  # noqa: F401
from flask_asgi import HttpProtocol, SpanExport  # noqa: F401
from price_service import app, serve  # noqa: F401

from .counting import Case, fork_each
from .stage_requests import quiet

NUMBERS = (100, 1100)


def served(path: str, variables: dict[str, str]) -> Case:
    """Serves `number` requests for `path`, and stops as in production."""

    def case(number: int) -> None:
        random.seed(0)  # the ids of traces decide which traces are sampled
        os.environ.update(variables)
        from .apps import extended  # noqa: F401, PLC0415 (it reads the settings)

        client = [sys.executable, "-P", "-m", "benchmarks.steady_client"]
        arguments = (os.environ["PORT"], path, str(number), str(os.getpid()))
        with subprocess.Popen([*client, *arguments]) as asking, quiet():
            serve.main([])
        if asking.returncode:
            message = f"{path} was not answered {number} times"
            raise RuntimeError(message)

    return case


if __name__ == "__main__":
    modes: dict[str, Any] = json.loads(os.environ["BENCH_MODES"])
    fork_each({name: served(**mode) for name, mode in modes.items()}, NUMBERS)
