"""The tests of the library `flask_asgi`, run against its sources without a bake."""
