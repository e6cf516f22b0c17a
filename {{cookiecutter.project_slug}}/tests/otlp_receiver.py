"""A collector of traces by OTLP/HTTP: it takes spans, and `/spans` shows them as JSON."""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Receiver(BaseHTTPRequestHandler):
    """Answers `POST /v1/traces` and `GET /spans`."""

    spans: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        """Take the spans of one export."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = ExportTraceServiceRequest.FromString(body)
        for each in request.resource_spans:
            service = _values(each.resource.attributes)["service.name"]
            for scope in each.scope_spans:
                self.spans.extend(_readable(span) | {"service": service} for span in scope.spans)
        self._answer(b"", "application/x-protobuf")

    def do_GET(self) -> None:
        """Show every span so far."""
        self._answer(json.dumps(self.spans).encode(), "application/json")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _readable(span: Any) -> dict[str, Any]:
    return {
        "name": span.name,
        "trace": span.trace_id.hex(),
        "id": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "attributes": _values(span.attributes),
    }


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Receiver).serve_forever()
