"""Serves any Flask application over ASGI: ``async def`` views on the loop, the rest in threads."""

from ._background import Background
from ._bridge import FlaskToAsgi, Lifespan
from ._garbage import collecting_as_memory_grows, spare_requests
from ._protocol import HttpProtocol
from ._readiness import Readiness, State, drain_on_signal
from ._refusals import CLIENT_CLOSED_REQUEST
from ._server import Server, Supervisor
from ._strict_json import StrictProvider, StrictRequest

__all__ = [
    "CLIENT_CLOSED_REQUEST",
    "Background",
    "FlaskToAsgi",
    "HttpProtocol",
    "Lifespan",
    "Readiness",
    "Server",
    "State",
    "StrictProvider",
    "StrictRequest",
    "Supervisor",
    "collecting_as_memory_grows",
    "drain_on_signal",
    "spare_requests",
]
__version__ = "0.1.0"
