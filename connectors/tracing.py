"""Traces of callbacks, from the edge to the settlement of the order, in W3C Trace Context.

This calls OpenTelemetry's API directly, which does nothing until `start`. The record header
`traceparent` carries the context. The edge's span is the parent of all later spans: a stage handles
thousands of records at once, and the records that it sends keep the header of their cause.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Message
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from schemas.headers import Headers, headers_of

HEADER = "traceparent"
# Version 00 has 55 characters. Each record that follows carries it.
_LONGEST = 200
HttpHeaders = Sequence[tuple[bytes, bytes]]

_W3C = TraceContextTextMapPropagator()
_EXPORT_INTERVAL_MS = 1000
_tracer = trace.get_tracer("linkstatus")


class NotInstalled(Exception):
    """Tracing is configured, but its packages are not installed."""


def start(process: str, endpoint: str, ratio: float) -> Callable[[], None]:
    """Send the spans of this process to the OTLP endpoint (HTTP); of the traces that begin here,
    only the share `ratio`. Returns a function that sends the last spans. Raises NotInstalled.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
    except ImportError as error:
        raise NotInstalled(
            "LINKSTATUS_TRACING__ENDPOINT is set: install linkstatus[tracing], or unset it"
        ) from error
    resource = Resource.create({"service.namespace": "linkstatus", "service.name": process})
    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(ratio), resource=resource)
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(
        BatchSpanProcessor(exporter, schedule_delay_millis=_EXPORT_INTERVAL_MS)
    )
    trace.set_tracer_provider(provider)
    return provider.shutdown


def enabled() -> bool:
    """Whether this process has a tracer provider, so that spans are more than no-ops."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


@contextmanager
def request_span(route: str, headers: HttpHeaders) -> Iterator[tuple[Span, HttpHeaders]]:
    """A span of a request to us, a child of the sender's span if the request names one. Yields it
    with the request's headers, which name it instead of the sender's span.
    """
    received = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    with _tracer.start_as_current_span(
        f"POST {route}", _W3C.extract(received), SpanKind.SERVER, {"http.route": route}
    ) as span:
        own: dict[str, str] = {}
        _W3C.inject(own)
        rest = [header for header in headers if header[0] != HEADER.encode()]
        yield span, [*rest, *((name.encode(), text.encode()) for name, text in own.items())]


def set_status(span: Span, status: int) -> None:
    """Set the HTTP status of the answer on the span of its request."""
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))


@contextmanager
def call_span(name: str, headers: Headers) -> Iterator[None]:
    """A span of a call to a provider, in the trace of the record that caused the call."""
    context = _context(headers) if enabled() else None
    if context is None:
        yield
    else:
        with _tracer.start_as_current_span(name, context, SpanKind.CLIENT):
            yield


def add_record_spans(stage: str, messages: Iterable[Message], started: int, ended: int) -> None:
    """Add a span for each record of a committed batch that has a trace. Times in nanoseconds."""
    for message in messages:
        context = _context(headers_of(message))
        if context is not None:
            span = _tracer.start_span(
                f"{stage} {message.topic()}",
                context,
                SpanKind.CONSUMER,
                {
                    "messaging.system": "kafka",
                    "messaging.destination.name": message.topic() or "",
                    "messaging.destination.partition.id": str(message.partition()),
                    "messaging.kafka.offset": message.offset() or 0,
                },
                start_time=started,
            )
            span.end(ended)


def trace_headers(headers: Iterable[Any]) -> Headers:
    """Return the header that carries the trace, for the records that follow from this one."""
    for name, value in headers:
        if name == HEADER and value is not None and len(value) <= _LONGEST:
            return [(name, value)]
    return []


def _context(headers: Iterable[Any]) -> Context | None:
    """Return the trace in a record's headers, None if there is none."""
    for _, value in trace_headers(headers):
        return _W3C.extract({HEADER: value.decode("latin-1")})
    return None
