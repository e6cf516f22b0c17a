"""The service with a resource that cannot be opened when it starts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from flask import Flask

from price_service.asgi import asgi
from price_service.parts import parts
from price_service.serve import main


def load_the_certificate() -> None:
    message = "the certificate has expired"
    raise OSError(message)


@parts(asgi.app).lifespan.add
@asynccontextmanager
async def broken(_app: Flask) -> AsyncIterator[None]:
    load_the_certificate()
    yield


if __name__ == "__main__":
    main()
