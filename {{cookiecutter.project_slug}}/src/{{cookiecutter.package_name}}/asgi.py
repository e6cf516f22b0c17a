"""What an ASGI server imports: `asgi`, the service with its start and its end."""

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
    sys.exit(3)  # STARTUP_FAILURE, which may be what could not be imported

# A worker that ends with that exit code would fail again: uvicorn's supervisor and gunicorn stop,
# instead of starting it for ever.
try:
    settings = load_settings()
    logs.configure(settings)
    asgi = create_asgi(create_app(settings))
except SettingsError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(STARTUP_FAILURE)
