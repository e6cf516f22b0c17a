"""uvicorn's HTTP/1.1, with a safe answer to a request that asks for another protocol."""

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class HttpProtocol(HttpToolsProtocol):
    """Serves a request with ``Upgrade`` as the HTTP/1.1 request that it is.

    A server may ignore that field (RFC 9110 section 7.8), and some clients send ``Upgrade: h2c``
    with every request. httptools stops parsing behind the head of such a request. uvicorn then
    loses the body, or takes it for the next request, which lets a client send a request in the name
    of another one behind the same proxy.
    """

    def data_received(self, data: bytes) -> None:
        """Parse `data`, and start the requests that it completes."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._is_served_as_http():
                rest = data[upgrade.args[0] :]
                head = self._head_without_upgrade()
                self.parser = httptools.HttpRequestParser(self)
                self.data_received(head + rest)
        except httptools.HttpParserError:
            message = "Invalid HTTP request received."
            self.logger.warning(message)
            self.send_400_response(message)

    def on_headers_complete(self) -> None:
        """Start the request, unless it has to be parsed again."""
        if not self._is_served_as_http():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the request's body is complete, unless it has to be parsed again."""
        if not self._is_served_as_http():
            super().on_message_complete()

    def _is_served_as_http(self) -> bool:
        # The parser stops at CONNECT too, which the application refuses and the bridge closes.
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
