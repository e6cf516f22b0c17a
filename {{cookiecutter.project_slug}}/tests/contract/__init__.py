"""What an update of Flask, uvicorn, pydantic or another package could break in the libraries.

`flask_asgi`, `typed_views` and `upstreams` do not change here, so their own tests are not here
either. These know nothing of the service. `uv run pytest tests/contract` runs them.
"""
