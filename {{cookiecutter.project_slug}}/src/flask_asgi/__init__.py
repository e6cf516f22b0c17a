"""Serves any Flask application over ASGI.

An ``async def`` view runs on the server's event loop, everything else in a worker thread. The names
in `__all__` are the public API; modules that begin with an underscore can change at any time.
"""

# The exit code of a process that failed to start and would fail again: uvicorn's supervisor and
# gunicorn, which has the same number, then stop instead of starting it again.
from uvicorn.config import STARTUP_FAILURE

from ._background import Background
from ._bridge import FlaskToAsgi
from ._garbage import tuned_garbage_collector
from ._lifespan import Lifespan, Resource
from ._protocol import HttpProtocol
from ._readiness import Readiness, State, drain_on_signal
from ._refusals import CLIENT_CLOSED_REQUEST
from ._server import Server, Supervisor
from ._strict_json import StrictProvider, StrictRequest
from ._testing import RunningServer, serve_in_thread

__all__ = [
    "CLIENT_CLOSED_REQUEST",
    "STARTUP_FAILURE",
    "Background",
    "FlaskToAsgi",
    "HttpProtocol",
    "Lifespan",
    "Readiness",
    "Resource",
    "RunningServer",
    "Server",
    "State",
    "StrictProvider",
    "StrictRequest",
    "Supervisor",
    "drain_on_signal",
    "serve_in_thread",
    "tuned_garbage_collector",
]
__version__ = "0.1.0"
