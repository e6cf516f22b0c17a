"""A process that receives traces by OTLP/HTTP, and reports the number of exports."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


class Receiver(BaseHTTPRequestHandler):
    """Answers `POST /v1/traces`, and any GET with the number of exports."""

    exports: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        """Receives one export."""
        self.exports.append(len(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(b"", "application/x-protobuf")

    def do_GET(self) -> None:
        """Answers with the number of exports."""
        self._answer(json.dumps(len(self.exports)).encode(), "application/json")

    def log_message(self, *_: object) -> None:
        """Does not log requests."""

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
