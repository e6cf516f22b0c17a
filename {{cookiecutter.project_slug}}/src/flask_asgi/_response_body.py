"""Response bodies that WSGI can iterate both on the loop and in a thread."""

import asyncio
import contextvars
import functools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from flask import request, stream_with_context
from flask.typing import ResponseReturnValue
from flask.wrappers import Response
from werkzeug.exceptions import HTTPException

from ._environ import LEFTOVERS, THREADS
from ._greenlets import is_on_loop
from ._threads import ThreadPool, block_on_thread
from ._waiting import waiter


def make_response(
    flask_make_response: Callable[[ResponseReturnValue], Response],
    value: Any,  # noqa: ANN401 - whatever a view returned
) -> Response:
    """Return Flask's response to ``value``, with a body that can be iterated where the view ran.

    An async iterator is wrapped in a plain iterator that waits for it. A streamed body that is not
    async, such as a file, is read in a thread: reading it on the loop would stop the server.
    """
    if isinstance(value, HTTPException):
        request.environ.setdefault(LEFTOVERS, []).append(value)
        value = value.get_response(request.environ)  # Flask would stream the error page
    if isinstance(value, tuple):
        value = (_without_async(value[0]), *value[1:]) if value else value
    else:
        value = _without_async(value)
    response = flask_make_response(value)
    if isinstance(response.response, list):  # nearly always
        return response
    body = response.response = _without_async(response.response)  # Response(async_generator())
    # A test client that a view uses calls the application on the loop, but outside of a server.
    threads = request.environ.get(THREADS) if is_on_loop() else None
    if threads is not None and response.is_streamed and not isinstance(body, AsyncBody):
        response.response = ThreadBody(body, threads)
    return response


def _without_async(value: Any) -> Any:  # noqa: ANN401 - whatever a view returned, or its body
    if hasattr(value, "__aiter__"):
        return AsyncBody(value)
    # `stream_with_context` mistakes an async generator for a generator function, and wraps it.
    source: Any = getattr(value, "__wrapped__", None)
    return AsyncBodyWithContext(source) if hasattr(source, "__aiter__") else value


class AsyncBody(Iterator[Any]):
    """An async iterator as a response body."""

    def __init__(self, source: AsyncIterator[Any]) -> None:
        self._source = aiter(source)
        self._runner: asyncio.Runner | None = None
        self._closed = False

    def __next__(self) -> Any:  # noqa: ANN401 - str or bytes: Werkzeug encodes it
        """Return the next part of the source."""
        chunk = self._wait_for(anext(self._source, _END))
        if chunk is _END:
            self.close()
            raise StopIteration
        return chunk

    def close(self) -> None:
        """End the source, once."""
        if self._closed:
            return
        self._closed = True
        if (aclose := getattr(self._source, "aclose", None)) is not None:
            self._wait_for(aclose())
        if self._runner is not None:
            self._runner.close()

    def _wait_for(self, awaitable: Any) -> Any:  # noqa: ANN401 - str or bytes
        async def wait() -> Any:  # noqa: ANN401 - str or bytes
            return await awaitable

        if (wait_here := waiter()) is not None:
            return wait_here(wait())
        # Under WSGI the stream runs in a separate event loop, until it ends.
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(wait(), context=contextvars.copy_context())


class AsyncBodyWithContext(AsyncBody):
    """An async iterator as a response body that keeps the request's context until it ends."""

    def __init__(self, source: AsyncIterator[Any]) -> None:
        self._parts: Any = stream_with_context(AsyncBody(source))  # a generator

    def __next__(self) -> Any:  # noqa: ANN401 - str or bytes: Werkzeug encodes it
        """Return the next part of the source."""
        return next(self._parts)

    def close(self) -> None:
        """End the source, and leave the context."""
        self._parts.close()


class ThreadBody(Iterator[Any]):
    """A body that may block, each part of which is produced in a thread."""

    def __init__(self, source: Iterable[Any], threads: ThreadPool) -> None:
        self._source = source
        self._iterator = iter(source)
        self._threads = threads

    def __next__(self) -> Any:  # noqa: ANN401 - str or bytes: Werkzeug encodes it
        """Return the next part of the source."""
        chunk = block_on_thread(self._threads, functools.partial(next, self._iterator, _END))
        if chunk is _END:
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Close the source, if it can be closed."""
        if (close := getattr(self._source, "close", None)) is not None:
            block_on_thread(self._threads, close)


_END: Any = object()
