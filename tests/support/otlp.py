"""A collector of spans: OTLP over HTTP, in protobuf."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """Takes spans at `url` as an OpenTelemetry collector does."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._spans: list[tuple[str, Span]] = []

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                self._spans += [(about["service.name"], span) for span in scope.spans]

    def spans_of(self, trace: str) -> dict[tuple[str, str], Span]:
        """The spans of one trace by process and name."""
        ours = [(p, s) for p, s in list(self._spans) if s.trace_id.hex() == trace]
        return {(process, span.name.replace("\n", " ")): span for process, span in ours}


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that ends with the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the output of the tests clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield collector
        server.shutdown()
        thread.join()
