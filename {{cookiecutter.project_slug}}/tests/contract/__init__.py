"""What an update of Flask, uvicorn, greenlet, aiohttp or httpx could break in the two libraries.

`flask_asgi` and `upstreams` do not change here, so their own tests are not here either. These know
nothing of the service. `uv run pytest tests/contract` runs them.
"""
