"""The measured peers, and the command that starts each."""

import sys
from typing import NamedTuple

from .apps.work import THREADS

BACKLOG = "4096"
UVICORN = (
    *("--loop", "uvloop", "--http", "httptools", "--ws", "none", "--backlog", BACKLOG),
    *("--no-access-log", "--log-level", "critical"),
)
GTHREAD = (
    *("--worker-class", "gthread", "--workers", "1", "--threads", str(THREADS)),
    *("--worker-connections", "20000", "--keep-alive", "75", "--backlog", BACKLOG),
    *("--no-control-socket", "--log-level", "critical"),
)


class Peer(NamedTuple):
    """A way to serve the benchmark's service from one worker process."""

    label: str
    application: str
    options: tuple[str, ...] = ()
    server: str = "uvicorn"
    client: str = "template"  # for the upstream: see apps/upstream_calls.py and apps/prices.py

    def command(self, port: int) -> list[str]:
        """The command that serves the peer on this port."""
        application = f"benchmarks.apps.{self.application}"
        if self.server == "uvicorn":
            arguments = ["uvicorn", "--port", str(port), *UVICORN]
        else:
            arguments = ["gunicorn", "--bind", f"127.0.0.1:{port}", *GTHREAD]
        return [sys.executable, "-m", *arguments, *self.options, application]


PEERS = {
    "template": Peer("this template", "template:asgi"),
    "fastapi": Peer("FastAPI", "fastapi_app:app"),
    "fastapi-spared": Peer("FastAPI, collector spared", "fastapi_spared:app"),
    "quart": Peer("Quart", "quart_app:app"),
    "fastapi-stock": Peer("FastAPI, stock httpx", "fastapi_app:app", client="stock"),
    "fastapi-raised": Peer("FastAPI, httpx unlimited", "fastapi_app:app", client="raised"),
    "pool": Peer("WsgiToAsgi, thread pool", "recipes:in_pool"),
    "a2wsgi": Peer("a2wsgi", "recipes:a2wsgi"),
    "gthread": Peer("gunicorn gthread", "flask_app:app", server="gunicorn"),
    "recipe": Peer("WsgiToAsgi", "recipes:wsgi_to_asgi"),
    "recipe-reset": Peer(
        "WsgiToAsgi, context reset", "recipes:wsgi_to_asgi", ("--reset-contextvars",)
    ),
    "recipe-context": Peer("WsgiToAsgi, own context", "recipes:in_own_context"),
}

# The peers that call an upstream that fails.
CALLERS = {
    "template": Peer("this template", "prices_template:asgi"),
    "template-hedged": Peer("this template, hedging", "prices_template:asgi", client="hedged"),
    "fastapi": Peer("FastAPI, httpx", "prices_fastapi:app", client="naive"),
    "quart": Peer("Quart, httpx", "prices_quart:app", client="naive"),
    "fastapi-partial": Peer(
        "FastAPI, httpx, partial answers", "prices_fastapi:app", client="partial"
    ),
    "fastapi-tries": Peer("FastAPI, httpx, three tries", "prices_fastapi:app", client="tries"),
}
