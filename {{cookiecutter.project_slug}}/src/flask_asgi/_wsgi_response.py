"""One call of a WSGI application (PEP 3333) and the response that it returns, part by part."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

from asgiref.typing import HTTPResponseStartEvent
from flask import Flask

from ._environ import LEFTOVERS
from ._memo import Memo
from ._refusals import break_cycles

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class WsgiResponse:
    """The response to the request with the WSGI environ `environ`.

    `begin`, `next_chunk` and `close` run the application's code. So call them in a greenlet on the
    loop, or in a thread.
    """

    start: HTTPResponseStartEvent
    parts: Iterable[bytes] | None = None  # None until the application returns them
    head_is_sent = False
    is_closed = False
    _chunks: Iterator[bytes]
    _unsent: int | None = None  # bytes of the body, where its length is known

    def __init__(self, environ: dict[str, Any], app: Flask) -> None:
        self._environ = environ
        self._app = app
        self._written: list[bytes] = []

    def begin(self, application: Application) -> bytes:
        """Call `application`, and return the first part of the response's body.

        Raises:
            BaseException: the error that the application raised.
        """
        environ = self._environ
        try:
            self.parts = application(environ, self._start_response)
        finally:
            if (leftovers := environ.pop(LEFTOVERS, None)) is not None:
                break_cycles(leftovers)
                del leftovers
        parts = self.parts
        if type(parts) is list and len(parts) == 1 and not self._written:
            body: bytes = parts[0]
            if self._unsent == len(body):  # nearly always
                self.is_closed = True  # a list has nothing to close
                return body
        self._chunks = itertools.chain(self._written, parts)
        return self.next_chunk()

    def next_chunk(self) -> bytes:
        """Return the next part of the body, possibly empty. Close the response after the last.

        So an ordinary response, which has one part, takes one call and one message.
        """
        chunk = next(filter(None, self._chunks), b"")
        if self._unsent is not None:
            if len(chunk) > self._unsent:
                chunk = chunk[: self._unsent]
            self._unsent -= len(chunk)
        if not chunk or self._unsent == 0:
            self.close()
        return chunk

    def close(self) -> None:
        """Tell the application that the response has ended, whether or not it was complete."""
        self.is_closed = True
        try:
            if (close := getattr(self.parts, "close", None)) is not None:
                close()
        except Exception:
            # The response itself is complete, and may have been sent.
            self._app.logger.exception("Closing a response failed")

    def _start_response(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: tuple[type[BaseException], BaseException, TracebackType] | None = None,
    ) -> Callable[[bytes], None]:
        """Keep the response's head. The application calls this once, and again after an error."""
        if self.head_is_sent and exc_info is not None:
            raise exc_info[1].with_traceback(exc_info[2])
        self._unsent = None
        encoded = []
        for name, value in headers:
            field = _fields.get(name) or _field(name)
            if field == b"content-length":
                self._unsent = int(value)
            encoded.append((field, value.encode("latin-1")))
        self.start = {
            "type": "http.response.start",
            "status": int(status[:3]),
            "headers": encoded,
            "trailers": False,
        }
        return self._written.append


def _field(name: str) -> bytes:
    return _fields.keep(name, name.lower().encode("latin-1"))


# Applications send the same few header names again and again.
_fields: Memo[str, bytes] = Memo(most=256, longest=64)
