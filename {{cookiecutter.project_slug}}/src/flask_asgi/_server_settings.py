"""A pydantic model of the server's settings, for programs that read them from the environment."""

import math
import re
import sys
from contextlib import AbstractContextManager, nullcontext
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import uvicorn
from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, field_validator
from uvicorn.config import STARTUP_FAILURE

from ._networks import Networks
from ._protocol import HttpProtocol
from ._run import run

# In seconds. How long a reload waits for requests in flight: an open stream in a browser must not
# delay it.
RELOAD_GRACE_SECONDS = 1

# In seconds. How long a worker may take to answer its parent, which is the last step of its start.
# The parent kills a worker that takes longer, and starts another.
WORKER_PATIENCE_SECONDS = 60

# RFC 1123 section 2.1, plus underscores, which occur in names of containers.
_HOST_NAME = re.compile(r"(?!-|.{254})[\w-]{1,63}(\.[\w-]{1,63})*\.?", re.ASCII)

# A week: event loops cannot wait for ever, and a longer time is a typing mistake.
_LONGEST = 604_800


def _host(value: str) -> str:
    try:
        ip_address(value.partition("%")[0])
    except ValueError:
        if not _HOST_NAME.fullmatch(value):
            message = "must be an IP address or the name of a host"
            raise ValueError(message) from None
    return value


def _networks(value: str) -> str:
    # uvicorn would take any other text for a name, which matches no client.
    Networks(value)
    return value


_Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
_Host = Annotated[str, AfterValidator(_host)]
_Networks = Annotated[str, AfterValidator(_networks)]
_Port = Annotated[int, Field(ge=0, le=65535)]
_Delay = Annotated[float, Field(ge=0, le=_LONGEST, allow_inf_nan=False)]
_Seconds = Annotated[float, Field(gt=0, le=_LONGEST, allow_inf_nan=False)]


class ServerSettings(BaseModel):
    """The settings of the server, with the defaults of `FlaskToAsgi` where it has the same option.

    Use it as a base class of the program's own settings. To change a default there, write the whole
    field again, with its type, its limits and its description.
    """

    host: _Host = Field(
        default="127.0.0.1", description="the address to listen on; a container needs 0.0.0.0"
    )
    port: _Port = Field(default=8000, description="the TCP port to listen on")
    metrics_host: _Host = Field(
        default="127.0.0.1",
        description="the address to serve /metrics on; a container needs 0.0.0.0",
    )
    metrics_port: _Port = Field(
        default=0,
        description="the TCP port to serve /metrics on, which must not be public; 0 switches "
        "metrics off",
    )
    web_concurrency: _Count = Field(default=1, description="the number of worker processes")
    max_content_length: _Count = Field(
        default=1024 * 1024, description="the largest request body that is accepted, in bytes"
    )
    worker_threads: _Count = Field(
        default=100, description="how many requests may run at once in views that are not async"
    )
    max_waiting: _Count = Field(
        default=1000,
        description="how many of these requests may wait for a thread; further ones are answered "
        "503",
    )
    max_in_flight: _Count = Field(
        default=10_000,
        description="how many requests may be in flight; further ones are answered 503, except "
        "health checks",
    )
    request_timeout_seconds: _Seconds = Field(
        default=60,
        description="how long a request's body of at most 64 KiB may take to arrive (408), and "
        "after that an async view to begin its response (504), in seconds; a stream may last "
        "longer",
    )
    shutdown_delay_seconds: _Delay = Field(
        default=0,
        description="how long /readyz answers 503 before the socket closes, in seconds: the time "
        "that a load balancer needs to notice",
    )
    shutdown_grace_seconds: _Seconds = Field(
        default=30, description="how long a stop waits for requests in flight, in seconds"
    )
    keep_alive_seconds: _Count = Field(
        default=75,
        description="how long an idle connection stays open, in whole seconds; longer than the "
        "load balancer's own limit",
    )
    forwarded_allow_ips: _Networks = Field(
        default="127.0.0.1",
        description="the addresses or networks of proxies whose X-Forwarded headers are trusted, "
        "separated by commas; * for all",
    )
    deadline_allow_ips: _Networks = Field(
        default="",
        description="the addresses or networks of callers whose X-Envoy-Expected-Rq-Timeout-Ms is "
        "trusted, separated by commas; * for all; none by default",
    )

    @field_validator("metrics_port")
    @classmethod
    def _not_the_public_port(cls, value: int, info: ValidationInfo) -> int:
        if value and value == info.data.get("port"):
            message = "must not be that of PORT, where everybody could read the metrics"
            raise ValueError(message)
        return value

    def serve(self, application: str, *, reload_dir: Path | None = None) -> None:
        """Serve until SIGTERM or SIGINT, and return once the requests in flight are answered.

        Args:
            application: the ASGI application as uvicorn imports it, like ``service.asgi:asgi``. It
                logs requests itself: uvicorn's access log is off.
            reload_dir: a folder; start again, with one worker, when a source in it changes.

        Raises:
            SystemExit: `STARTUP_FAILURE` if the application cannot start, or metrics cannot be
                served.
        """
        config = self._config(application, reload_dir)
        with self._metrics_served(in_children=config.reload or config.workers > 1):
            run(config)

    def _config(self, application: str, reload_dir: Path | None) -> uvicorn.Config:
        grace = RELOAD_GRACE_SECONDS if reload_dir else math.ceil(self.shutdown_grace_seconds)
        return uvicorn.Config(
            application,
            host=self.host,
            port=self.port,
            workers=1 if reload_dir else self.web_concurrency,
            reload=reload_dir is not None,
            reload_dirs=str(reload_dir) if reload_dir else None,
            lifespan="on",  # a failed start-up must stop the server
            ws="none",
            http=HttpProtocol,
            access_log=False,
            log_config=None,
            server_header=False,
            forwarded_allow_ips=self.forwarded_allow_ips,
            timeout_keep_alive=self.keep_alive_seconds,
            timeout_graceful_shutdown=grace,
            timeout_worker_healthcheck=WORKER_PATIENCE_SECONDS,
        )

    def _metrics_served(self, *, in_children: bool) -> AbstractContextManager[object]:
        host, port = self.metrics_host, self.metrics_port
        if not port:
            return nullcontext()
        from ._prometheus import MetricsServer  # noqa: PLC0415 - an optional dependency

        try:
            return MetricsServer(host, port, in_children=in_children)
        except OSError as error:
            reason = f"cannot serve on {host}, port {port}: {error.strerror}"
            sys.stderr.write(f"METRICS_PORT: {reason}.\n")
            sys.exit(STARTUP_FAILURE)
