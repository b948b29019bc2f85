"""HTTP/1.1 on one connection: uvicorn's protocol on httptools, with limits.

httptools limits neither the bytes nor the time of a request. It also ends a request with an offer
of another protocol (`Upgrade`) at its headers, so that the body is lost. uvicorn's own hooks do not
reach these places, so this class overrides the callbacks of the parser;
`tests/connectors/http/test_protocol.py` fails when uvicorn or httptools change them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from itertools import chain
from typing import Any

import httptools
from prometheus_client import Counter
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from connectors.http import refusals
from connectors.http.refusals import Refusal, Refused
from schemas import limits

_REFUSED = Counter(
    "linkstatus_http_refused_total",
    "Requests and connections that a limit of the HTTP server refused",
    ["limit"],
)
# Called with the URL of a refused request, empty if it is not known.
OnRefusal = Callable[[bytes, Refusal], None]


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """The limits of a server that an operator can set. The others are in `schemas.limits`."""

    connections: int = limits.CONNECTIONS
    head_seconds: float = limits.HEAD_SECONDS
    body_seconds: float = limits.BODY_SECONDS
    idle_seconds: float = limits.IDLE_SECONDS


class _Phase(Enum):
    """What the connection waits for."""

    REQUEST = auto()
    HEAD = auto()
    BODY = auto()
    # The answer is on its way. What the client still sends is discarded.
    END = auto()


class Connections:
    """The connections of one server: their limits, and those that wait for their client, the
    longest first.
    """

    def __init__(self, settings: HttpLimits, on_refusal: OnRefusal | None = None) -> None:
        self.settings = settings
        self._on_refusal = on_refusal
        self.waiting: dict[LimitedProtocol, None] = {}
        self._all: set[Any] = set()

    def added(self, connection: "LimitedProtocol", everyone: set[Any]) -> None:
        """Note a new connection; close the one that waits longest if there are too many."""
        self._all = everyone
        self.waiting[connection] = None
        if len(everyone) > self.settings.connections:
            # The new one comes last: it is closed only if all others have a request in progress.
            next(iter(self.waiting)).evict()

    def refused(self, url: bytes, refusal: Refusal) -> None:
        """Count a request that gets this answer."""
        _REFUSED.labels(refusal.limit).inc()
        if self._on_refusal:
            self._on_refusal(url, refusal)

    def sweep(self, now: float) -> None:
        """Close the connections whose time is over."""
        for connection in list(self._all):
            if connection.deadline is None:
                connection.deadline = now + connection.patience()
            elif min(connection.deadline, connection.write_deadline) < now:
                connection.expire()


class _ClosedWhenWhole:
    """The transport of a request after which the connection closes. uvicorn would close it after an
    answer that comes before the end of the body; the client, still sending, would lose the answer.
    """

    def __init__(self, protocol: "LimitedProtocol") -> None:
        self._protocol = protocol
        self.write, self.is_closing = protocol.transport.write, protocol.transport.is_closing

    def close(self) -> None:
        if not self._protocol.is_body_awaited():
            self._protocol.transport.close()


class LimitedProtocol(HttpToolsProtocol):
    """One connection, bounded in bytes and time before any application sees the request.

    Each refusal is an answer of its own that closes the connection. The application then sees a
    disconnect, so that it stores and answers nothing.
    """

    def __init__(self, *arguments: Any, shared: Connections, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.url = b""
        self._shared = shared
        self._settings = shared.settings
        self._phase = _Phase.REQUEST
        self._packet_bytes = self._first_bytes = self._framing_bytes = self._body_bytes = 0
        self._client_ended = False
        self._in_progress: Any = None
        # When to stop waiting for the client, in the loop's time. `Connections.sweep` sets it:
        # reading the clock for each phase of each request would cost more.
        self.deadline: float | None = None
        # When to stop waiting for the client to read.
        self.write_deadline = math.inf

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._shared.added(self, self.connections)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._shared.waiting.pop(self, None)
        # uvicorn tells only the newest request. Of pipelined ones that is not the one in progress,
        # whose next write would raise.
        if self._in_progress is not None:
            self._in_progress.disconnected = True
            self._in_progress.message_event.set()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._in_progress = cycle
        super()._start_asgi_task(cycle, app)

    # Bytes from the client.

    def data_received(self, data: bytes) -> None:
        if self._phase is _Phase.END:
            return
        # The parser collects an unfinished header without a callback, so bytes are counted here:
        # those after the packet in which the request, or its body, begins.
        self._packet_bytes = len(data)
        self._framing_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._ignore_upgrade(data[offer.args[0] :])
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause.refusal if isinstance(cause, Refused) else refusals.MALFORMED)
        else:
            if self._phase is _Phase.HEAD and self._framing_bytes > limits.HEAD_BYTES:
                self._refuse(refusals.HEAD_BYTES)
            elif self._phase is _Phase.BODY and self._framing_bytes > limits.FRAMING_BYTES:
                self._refuse(refusals.FRAMING)

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read the request as if it offered no other protocol (RFC 9110 §7.8)."""
        if self.parser.get_method() == b"CONNECT":
            return self._refuse(refusals.MALFORMED)
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join([*lines, b"", rest]))
        return None

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer what can be answered: the client may still read. Return whether to stay open."""
        self._client_ended = True
        if self._phase in (_Phase.HEAD, _Phase.BODY):
            self._refuse(refusals.CUT)
        answering = self._is_answering()
        if answering:
            self._phase = _Phase.END
        # A stream has no end that its client, now gone, could wait for.
        return answering and not self.cycle.response_started

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= limits.PIPELINED_REQUESTS:
            raise Refused(refusals.PIPELINED)
        super().on_message_begin()
        self._first_bytes = self._packet_bytes
        self._framing_bytes = self._body_bytes = 0
        self._phase, self.deadline = _Phase.HEAD, None

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        # Counting exactly would cost each request a microsecond.
        if self._first_bytes + self._framing_bytes > limits.HEAD_BYTES:
            self._check_head()
        if len(self.headers) > limits.HEADERS:
            raise Refused(refusals.HEADERS)
        super().on_headers_complete()
        if not self.cycle.keep_alive:
            self.cycle.transport = _ClosedWhenWhole(self)  # type: ignore[assignment]
        # Trailers come after the body; nothing reads them.
        self.headers = []
        self._framing_bytes = 0
        self._phase, self.deadline = _Phase.BODY, None

    def _check_head(self) -> None:
        size = len(self.url) + sum(map(len, chain.from_iterable(self.headers)))
        if size + len(self.headers) * len(": \r\n") > limits.HEAD_BYTES:
            raise Refused(refusals.HEAD_BYTES)

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= len(body)
        self._body_bytes += len(body)
        if self._body_bytes > limits.REQUEST_BYTES:
            raise Refused(refusals.REQUEST_BYTES)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._phase, self.deadline = _Phase.REQUEST, None
        self._shared.waiting.pop(self, None)
        super().on_message_complete()

    # The application's answers.

    def on_response_complete(self) -> None:
        """As uvicorn's, without a timer for each request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self.deadline = None
            self._start_asgi_task(*self.pipeline.pop())
        elif self._phase in (_Phase.BODY, _Phase.END):
            # The answer came before the end of the request, or a later request was refused.
            self._close()
        else:
            self.deadline = None
            self._shared.waiting[self] = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self.write_deadline = self.loop.time() + limits.WRITE_SECONDS

    def resume_writing(self) -> None:
        super().resume_writing()
        self.write_deadline = math.inf

    # The end.

    def expire(self) -> None:
        """The client did not do in time what the connection waits for."""
        if self.flow.write_paused:
            _REFUSED.labels(refusals.WRITE_SECONDS.limit).inc()
            self.transport.abort()
        elif self._phase is _Phase.HEAD:
            self._refuse(refusals.HEAD_SECONDS)
        elif self._phase is _Phase.BODY:
            self._refuse(refusals.BODY_SECONDS)
        else:
            self.transport.abort()

    def evict(self) -> None:
        """Make room for another connection."""
        self._shared.waiting.pop(self, None)
        # An idle connection is closed as after its idle time, without an answer.
        if self._phase in (_Phase.HEAD, _Phase.BODY) or self.cycle is None:
            self._shared.refused(self.url, refusals.CONNECTIONS)
            self.transport.write(refusals.CONNECTIONS.response())
        else:
            _REFUSED.labels(refusals.CONNECTIONS.limit).inc()
        self.transport.close()
        self._phase, self.deadline = _Phase.END, None

    def patience(self) -> float:
        """Return how many seconds to wait for the client now."""
        if self.pipeline or (self._phase is not _Phase.BODY and self._is_answering()):
            return math.inf
        if self._phase is _Phase.BODY:
            return self._settings.body_seconds
        if self._phase is _Phase.END:
            return limits.LINGER_SECONDS
        if self._phase is _Phase.HEAD or self.cycle is None:
            return self._settings.head_seconds
        return self._settings.idle_seconds

    def is_body_awaited(self) -> bool:
        return self._phase is _Phase.BODY

    def _is_answering(self) -> bool:
        return bool(self.pipeline or (self.cycle and not self.cycle.response_complete))

    def _refuse(self, refusal: Refusal) -> None:
        """Answer `refusal`, or close after the answers to the requests before this one."""
        self._shared.refused(self.url, refusal)
        phase, self._phase, self.deadline = self._phase, _Phase.END, None
        answerable = phase is not _Phase.BODY or self._drop_request()
        if not self._is_answering():
            self._close(refusal if answerable else None)

    def _drop_request(self) -> bool:
        """Hide the unfinished request from the application. Return whether it has no answer yet."""
        if self.pipeline:
            self.pipeline.popleft()
            return True
        self.cycle.disconnected = self.cycle.response_complete = True
        self.cycle.message_event.set()
        return not self.cycle.response_started

    def _close(self, refusal: Refusal | None = None) -> None:
        """Send the answer. The connection stays open for a moment: closing it while the client
        sends would reset it, and the client would lose the answer.
        """
        if refusal and not self.flow.write_paused:
            self.transport.write(refusal.response())
        if self._client_ended:
            return self.transport.close()
        self.transport.write_eof()
        self._phase, self.deadline = _Phase.END, None
        self._shared.waiting[self] = None
        return None
