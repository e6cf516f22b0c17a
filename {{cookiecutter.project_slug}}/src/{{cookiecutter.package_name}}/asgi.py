"""The module for an ASGI server: `asgi` is the service with its lifespan."""

import sys

from . import missing_package

try:
    from flask_asgi import STARTUP_FAILURE
    from upstreams import SettingsError

    from . import logs
    from .app import create_app, create_asgi
    from .settings import load_settings
except ModuleNotFoundError as error:
    sys.stderr.write(f"{missing_package(error)}\n")
    sys.exit(3)  # STARTUP_FAILURE, which may not be importable here

# A worker that ends with this exit code would fail again, so uvicorn's supervisor and gunicorn stop
# instead of restarting it for ever.
try:
    settings = load_settings()
    logs.configure(settings)
    asgi = create_asgi(create_app(settings))
except SettingsError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(STARTUP_FAILURE)
