"""The service in FastAPI, its garbage collector set as the template sets it for its own."""

from flask_asgi import spare_requests

from .fastapi_app import app

__all__ = ["app"]

spare_requests()
