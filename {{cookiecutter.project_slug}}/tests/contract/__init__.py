"""Tests of behaviour that an update of Flask, uvicorn, pydantic and so on could break.

`flask_asgi`, `typed_views` and `upstreams` are not developed here, so their own tests are not here.
These tests do not use the service. `uv run pytest tests/contract` runs them.
"""
