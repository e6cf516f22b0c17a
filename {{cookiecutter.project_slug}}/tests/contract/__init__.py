"""What an update of Flask, uvicorn, greenlet, aiohttp or httpx could break in the two libraries.

`flask_asgi` and `upstreams` do not change here, so their own tests are not here either. These say
that with the packages that this service locks they still do what they are for. They know nothing of
the service. `uv run pytest tests/contract` runs them.
"""
