"""The body of a request: bytes, or parts that are sent as they are made."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import StreamWriter

from ._head import sent_length
from ._tasks import contained


def content_of(request: httpx.Request) -> bytes | None:
    """Return the body of a request, or None for a body that is sent as it is made.

    Raises `TypeError` for a synchronous iterator.
    """
    if isinstance(request.stream, httpx.ByteStream):
        return b"".join(request.stream)
    if not isinstance(request.stream, httpx.AsyncByteStream):
        message = "the body is a synchronous iterator: it would block the event loop"
        raise TypeError(message)
    return None


class Upload:
    """A task that sends a body as it is made, while the reply may arrive already.

    An error ends the wait for the reply. `is_to_blame` is True for the body's own error, which the
    caller gets unchanged, and False for an error of the connection.
    """

    is_to_blame = False

    def __init__(self, protocol: ResponseHandler, request: httpx.Request) -> None:
        """Start to send the body of `request`."""
        assert isinstance(request.stream, httpx.AsyncByteStream)  # noqa: S101 - see `content_of`
        self._protocol = protocol
        self._writer = StreamWriter(protocol, asyncio.get_running_loop())
        self._writer.length = sent_length(request)
        if self._writer.length is None:
            self._writer.enable_chunking()
        self._task = asyncio.create_task(contained(self._send(aiter(request.stream))))
        self._task.add_done_callback(partial(_end_wait, protocol))

    async def _send(self, parts: AsyncIterator[bytes]) -> None:
        while (part := await self._next(parts)) is not None:
            await self._writer.write(part)
        await self._writer.write_eof()
        self._protocol.start_timeout()

    async def _next(self, parts: AsyncIterator[bytes]) -> bytes | None:
        left = self._writer.length
        try:
            part = await anext(parts, None)
            if left is not None and (left if part is None else len(part) > left):
                # The upstream would take the next request for the rest of this body, or the rest
                # for the next request: RFC 9112 section 6.3.
                message = "the body is not as long as its Content-Length says"
                raise ValueError(message)  # noqa: TRY301 - it is an error of the body
        except Exception:
            self.is_to_blame = True
            raise
        return part

    @property
    def is_done(self) -> bool:
        """Whether all was sent; False when an error, or `stop`, has ended the task."""
        task = self._task
        return task.done() and not task.cancelled() and task.exception() is None

    def stop(self) -> None:
        """Send no more."""
        self._task.cancel()


def _end_wait(protocol: ResponseHandler, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        protocol.set_exception(error)
