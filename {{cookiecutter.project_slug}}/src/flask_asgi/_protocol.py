"""uvicorn's HTTP/1.1 protocol, corrected for `Upgrade` requests and early disconnects."""

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

# Requests that a client may send ahead of their responses before the server stops reading.
MOST_PIPELINED = 100


class HttpProtocol(HttpToolsProtocol):
    """One connection of a client: pass the class to uvicorn as ``http``.

    A request with ``Upgrade`` is served as plain HTTP/1.1: a server may ignore that field (RFC 9110
    section 7.8), and some clients send ``Upgrade: h2c`` with every request. httptools stops parsing
    after the head of such a request. uvicorn then loses the body, or takes it for the next request,
    so a client behind a proxy could send a request in another client's name.

    When a client disconnects, uvicorn tells the last request in the pipeline. This class tells the
    request that is being answered, so that it is cancelled, and drops those after it. It also keeps
    reading while requests wait in the pipeline, so that it notices the disconnect.
    """

    answered: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's too
        """Take a new connection."""
        super().connection_made(transport)
        self.writer = _Writer(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered, and drop those after it."""
        self.pipeline.clear()
        super().connection_lost(exc)
        if self.answered is not None and not self.answered.response_complete:
            self.answered.disconnected = True
            self.answered.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401 - an ASGI application
        self.answered = cycle
        cycle.transport = self.writer  # type: ignore[assignment] # it uses these methods only
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        """Parse `data`, and start the requests that it completes."""
        self._unset_keepalive_if_required()
        try:
            while data:
                data = self._parse(data)
        except httptools.HttpParserError:
            message = "Invalid HTTP request received."
            self.logger.warning(message)
            self.send_400_response(message)

    def _parse(self, data: bytes) -> bytes:
        """Parse `data`, and return the bytes that are still to be parsed."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._is_served_as_http():
                head, rest = self._head_without_upgrade(), data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
                return head + rest
        return b""

    def on_headers_complete(self) -> None:
        """Start the request, unless it is parsed again without ``Upgrade``."""
        if not self._is_served_as_http():
            super().on_headers_complete()
            # uvicorn stops reading while a request waits in the pipeline, so it would not notice a
            # disconnect.
            if 0 < len(self.pipeline) < MOST_PIPELINED and self._buffered() <= HIGH_WATER_LIMIT:
                self.flow.resume_reading()

    def _buffered(self) -> int:
        """Return how many bytes of body the requests in the pipeline hold."""
        return sum(len(cycle.body) for cycle, _ in self.pipeline)

    def on_message_complete(self) -> None:
        """End the request's body, unless the request is parsed again without ``Upgrade``."""
        if not self._is_served_as_http():
            super().on_message_complete()

    def _is_served_as_http(self) -> bool:
        # The parser stops at CONNECT too. Flask refuses it, and `Exchange` closes the connection.
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        for name, value in self.headers:
            kept = value
            if name == b"connection":
                options = [option.strip() for option in value.split(b",")]
                kept = b", ".join(each for each in options if each.lower() != b"upgrade")
            if name != b"upgrade":
                lines.append(name + b": " + kept)
        return b"\r\n".join([*lines, b"", b""])


class _Writer:
    """A transport that ignores writes once the connection has ended, as asyncio's does.

    uvloop's transport raises an error until the protocol is told of the end.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._write = transport.write
        self.close = transport.close
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if not self.is_closing():
            self._write(data)
