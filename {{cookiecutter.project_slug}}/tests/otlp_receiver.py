"""A collector of traces by OTLP/HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector(ThreadingHTTPServer):
    """Listens on a free port of 127.0.0.1, and keeps the spans that it receives."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.spans: list[dict[str, Any]] = []


@contextmanager
def collecting() -> Iterator[Collector]:
    """Collect spans, in a thread, until the block ends."""
    with Collector() as collector:
        thread = Thread(target=collector.serve_forever, args=[0.01])  # checks for its end
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()


class _Receiver(BaseHTTPRequestHandler):
    """Answers `POST /v1/traces`."""

    server: Collector

    def do_POST(self) -> None:
        """Keep the spans of an export."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = ExportTraceServiceRequest.FromString(body)
        for each in request.resource_spans:
            service = _values(each.resource.attributes)["service.name"]
            for scope in each.scope_spans:
                self.server.spans += [
                    _readable(span) | {"service": service} for span in scope.spans
                ]
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Do not log requests."""


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
