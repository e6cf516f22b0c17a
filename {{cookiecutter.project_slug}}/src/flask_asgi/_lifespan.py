"""Resources that are opened before the first request of a worker, and closed after its last."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from flask import Flask

Resource = Callable[[Flask], AbstractAsyncContextManager[Any]]
R = TypeVar("R", bound=Resource)


class Lifespan:
    """The resources of an application, such as clients and databases, in the order of their use.

    They are opened once per worker, in the order in which they were added, and closed in reverse
    order, so a resource can rely on those before it. If one fails to open, those before it are
    closed and the server does not start. If one fails to close, the others are closed nevertheless.

    Pass the object to `FlaskToAsgi` as ``lifespan``. It can be opened again after it was closed.

    Args:
        resources: see `add`.
    """

    def __init__(self, *resources: Resource) -> None:
        self._resources: list[Resource] = []
        self._opened = 0  # how many times the resources are open now
        for resource in resources:
            self.add(resource)

    def add(self, resource: R) -> R:
        """Add a resource after all others, and return it: this works as a decorator, too.

        Args:
            resource: called with the Flask application each time the resources are opened; returns
                an async context manager, for example a function decorated with
                `contextlib.asynccontextmanager`. Its value is not used.

        Raises:
            TypeError: it is not callable.
            RuntimeError: the resources are open.
        """
        given: object = resource  # not every caller has its types checked
        # The result of calling an `asynccontextmanager` function is callable too, as a decorator.
        if not callable(given) or isinstance(given, AbstractAsyncContextManager):
            message = (
                f"a resource is a function that takes the Flask application and returns an async "
                f"context manager, not {resource!r}"
            )
            raise TypeError(message)
        if self._opened:
            message = f"the application has started: add {resource!r} before that"
            raise RuntimeError(message)
        self._resources.append(resource)
        return resource

    @asynccontextmanager
    async def __call__(self, app: Flask) -> AsyncIterator[None]:
        """Keep all resources open: return the async context manager that `FlaskToAsgi` enters.

        Raises:
            BaseException: the error of a resource that failed to open or to close.
        """
        self._opened += 1
        try:
            async with AsyncExitStack() as stack:
                for resource in self._resources:
                    await stack.enter_async_context(resource(app))
                yield
        finally:
            self._opened -= 1
