"""The service with an upstream that cannot be opened when it starts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from {{ cookiecutter.package_name }}.asgi import asgi
from {{ cookiecutter.package_name }}.serve import main


class Broken:
    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        message = "the certificate has expired"
        raise OSError(message)
        yield


asgi.app.extensions["upstreams"].append(Broken())

if __name__ == "__main__":
    main()
