"""Flask's extensions served by `flask_asgi`: their own tests, and tests under concurrency."""
