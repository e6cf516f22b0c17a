"""Flask's extensions served by `flask_asgi`: their own tests, and what concurrency does to them."""
