"""One trace from a callback to its settlement, as a collector receives it over OTLP."""

import gc
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from connectors import tracing
from connectors.kafka import Cluster
from streams import wiring
from streams.engine.batch import headers_of
from streams.settings import BadSettings, load
from tests.reading import read_all
from tests.system import System
from tests.waiting import until_sync

TRACE = "0af7651916cd43dd8448eb211c80319c"
SENT = f"00-{TRACE}-b7ad6b7169203331-01"


@dataclass
class Collector:
    """Takes spans as an OpenTelemetry collector does: OTLP over HTTP, in protobuf."""

    spans: list[tuple[str, Span]] = field(default_factory=list)

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [(about["service.name"], span) for span in scope.spans]

    def told(self, trace: str) -> dict[tuple[str, str], Span]:
        """The spans of one trace by process and name."""
        ours = [(p, s) for p, s in self.spans if s.trace_id.hex() == trace]
        return {(process, span.name.replace("\n", " ")): span for process, span in ours}


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Not on the tests' output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield collector, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.kafka
@pytest.mark.slow
def test_a_callback_is_one_trace_up_to_its_settlement(
    collector: tuple[Collector, str], tmp_path: Path
) -> None:
    told, endpoint = collector
    system = System(tmp_path, LINKSTATUS_TRACING__ENDPOINT=endpoint).start()
    try:
        assert system.run("send", "ping", "--example", "completed").returncode == 0
        link = "/links/ping/a25cdd3b-f95f-4861-87e4-1ca0a6be748e"
        row = system.see(link, lambda row: row["status"] == "PAID")
        system.see(f"/orders/ping/{row['order_id']}", lambda order: order["state"] == "SETTLED")
        p = system.prefix
        wanted = {
            ("web", "POST /callbacks/ping"),
            ("work", f"normalize {p}callbacks.ping"),
            ("work", f"track {p}link-events"),
            ("lookup", "lookup ping"),
            ("work", f"orders {p}order-events"),
            ("settle", "close ping"),
            ("settle", "settle ping"),
        }
        cluster = Cluster(system.environment["LINKSTATUS_BROKERS"], p)
        (close,) = read_all(cluster, "order-close")
        _, trace, parent, _ = dict(headers_of(close))["traceparent"].decode().split("-")
        until_sync(lambda: wanted <= told.told(trace).keys(), "all spans of the trace")
        spans = told.told(trace)
        edge = spans.pop(("web", "POST /callbacks/ping"))
        assert (edge.span_id.hex(), edge.parent_span_id) == (parent, b"")
        assert {span.parent_span_id for span in spans.values()} == {edge.span_id}
    finally:
        system.stop()


def test_a_sender_s_trace_goes_on() -> None:
    """In a process of its own: a tracer provider cannot be taken back."""
    code = f"""
from connectors import tracing
end = tracing.start("test", "http://127.0.0.1:9", 0.0)
with tracing.received("/callbacks/ping", [(b"traceparent", b"{SENT}"), (b"x", b"y")]) as told:
    span, headers = told
    print(span.get_span_context().trace_id.to_bytes(16, "big").hex())
    print(dict(headers)[b"traceparent"].decode(), dict(headers)[b"x"])
with tracing.received("/callbacks/ping", []) as (span, headers):
    print(dict(headers)[b"traceparent"].decode()[-2:])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    trace, header, own = ran.stdout.splitlines()
    assert trace == TRACE
    assert header.startswith(f"00-{TRACE}-")
    # Ours, not the sender's, and sampled as the sender says; the ratio is for traces that begin.
    assert SENT[36:52] not in header
    assert header.endswith("-01 b'y'")
    assert int(own, 16) & 1 == 0


def test_it_is_off_unless_it_is_set() -> None:
    wiring.traced(load(_env_file=None), "work")()
    assert not tracing.on()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    settings = load(_env_file=None, tracing={"endpoint": "http://127.0.0.1:9"})
    with pytest.raises(BadSettings, match=r"linkstatus\[tracing\]"):
        wiring.traced(settings, "work")


def test_a_process_that_cannot_trace_is_not_begun(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    settings = load(_env_file=None, tracing={"endpoint": "http://127.0.0.1:9"}, data_dir=tmp_path)
    gc.collect()  # what others have left is not told of this one
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(BadSettings):
            wiring.sandbox(settings)
        gc.collect()
    assert [str(one.message) for one in told] == []
