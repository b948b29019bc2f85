"""Traces: the way of one callback, from the edge to its settlement, in W3C Trace Context.

OpenTelemetry's API is called directly; without `start` it does nothing. The context travels in the
record header `traceparent`. Every later span is a child of the edge's: the stages handle records by
the thousand, and what they send keeps the header it came with.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Message
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

HEADER = "traceparent"
Headers = list[tuple[str, bytes]]
HttpHeaders = Sequence[tuple[bytes, bytes]]

_W3C = TraceContextTextMapPropagator()
_EXPORT_EVERY_MS = 1000
_tracer = trace.get_tracer("linkstatus")
_on = False


class NotInstalled(Exception):
    """Tracing is configured, and what it needs is not installed."""


def start(process: str, endpoint: str, ratio: float) -> Callable[[], None]:
    """Sends spans of this process to the OTLP endpoint (HTTP), of that share of all traces that
    begin here. Returns what sends the last ones. Raises NotInstalled.
    """
    global _on
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
        BatchSpanProcessor(exporter, schedule_delay_millis=_EXPORT_EVERY_MS)
    )
    trace.set_tracer_provider(provider)
    _on = True
    return provider.shutdown


def on() -> bool:
    """Whether `start` was called."""
    return _on


@contextmanager
def received(route: str, headers: HttpHeaders) -> Iterator[tuple[Span, HttpHeaders]]:
    """A request as a span: the sender's child, if it sent a trace. Yields the span, and the headers
    with the span in the sender's place.
    """
    sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    with _tracer.start_as_current_span(
        f"POST {route}", _W3C.extract(sent), SpanKind.SERVER, {"http.route": route}
    ) as span:
        own: dict[str, str] = {}
        _W3C.inject(own)
        rest = [header for header in headers if header[0] != HEADER.encode()]
        yield span, [*rest, *((name.encode(), text.encode()) for name, text in own.items())]


def answered(span: Span, status: int) -> None:
    """Tells the span of a request how it was answered."""
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))


@contextmanager
def asking(what: str, headers: Headers) -> Iterator[None]:
    """A call to a provider as a span, within the trace of the record that provoked it."""
    context = _context(headers) if _on else None
    if context is None:
        yield
    else:
        with _tracer.start_as_current_span(what, context, SpanKind.CLIENT):
            yield


def handled(stage: str, messages: Iterable[Message], began: int, ended: int) -> None:
    """A span for each record that has a trace, when its batch has committed. Times in
    nanoseconds.
    """
    for message in messages:
        context = _context(message.headers() or [])
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
                start_time=began,
            )
            span.end(ended)


def passed_on(headers: Iterable[Any]) -> Headers:
    """Of a record's headers the trace, for whatever follows from the record."""
    return [header for header in headers if header[0] == HEADER]


def _context(headers: Iterable[Any]) -> Context | None:
    """The trace in a record's headers, if there is one."""
    for name, value in headers:
        if name == HEADER and value is not None:
            text = value if isinstance(value, str) else value.decode("latin-1")
            return _W3C.extract({HEADER: text})
    return None
