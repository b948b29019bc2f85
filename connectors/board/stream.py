"""Server-sent events: every status change, to everybody who listens.

Plain Starlette: sse-starlette patches uvicorn's server class and cannot see our orderly end.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from prometheus_client import Counter, Gauge
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Send

from connectors.board.present import as_json
from connectors.board.rows import Message
from schemas import codec
from schemas import records as r

_CLIENTS = Gauge("linkstatus_board_stream_clients", "Clients of the live stream.")
_DROPPED = Counter("linkstatus_board_stream_dropped_total", "Clients dropped for being too slow.")
_RETRY_MS = 2000

# None ends a client's stream.
Queue = asyncio.Queue[bytes | None]


class Hub:
    """Hands events to the clients. A client that does not keep up is dropped and may come again."""

    def __init__(
        self,
        *,
        waiting: int = 5000,
        clients: int = 100,
        heartbeat: float = 15.0,
        patience: float = 10.0,
    ) -> None:
        self._waiting = waiting
        self._most_clients = clients
        self.heartbeat = heartbeat
        self.patience = patience
        self._queues: set[Queue] = set()
        self._closed = False

    def publish(
        self, changes: Sequence[tuple[Message, r.LinkStatus]], activity: Mapping[str, int]
    ) -> None:
        """Tells of status changes, and of how many rows each table gained."""
        if not self._queues:
            return
        for message, status in changes:
            self._send(_link_event(message, status))
        self._send(f"event: activity\ndata: {json.dumps(dict(activity))}\n\n".encode())

    def close(self) -> None:
        """Ends every stream, so that the server need not wait for them."""
        self._closed = True
        for queue in list(self._queues):
            self._drop(queue)

    def is_full(self) -> bool:
        return self._closed or len(self._queues) >= self._most_clients

    @contextmanager
    def client(self) -> Iterator[Queue]:
        """A queue of frames for one client."""
        queue: Queue = asyncio.Queue(self._waiting)
        self._queues.add(queue)
        _CLIENTS.inc()
        try:
            yield queue
        finally:
            self._queues.discard(queue)
            _CLIENTS.dec()

    def _send(self, frame: bytes) -> None:
        for queue in list(self._queues):
            try:
                queue.put_nowait(frame)
            except asyncio.QueueFull:
                _DROPPED.inc()
                self._drop(queue)

    def _drop(self, queue: Queue) -> None:
        self._queues.discard(queue)
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)


def _link_event(message: Message, status: r.LinkStatus) -> bytes:
    data = json.dumps(as_json(codec.LINK_STATUS, status), ensure_ascii=False)
    place = f"{message.topic}/{message.partition}/{message.offset}"
    return f"event: link\nid: {place}\ndata: {data}\n\n".encode()


class EventStream(StreamingResponse):
    """One client's stream, with a heartbeat in silence."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub) -> None:
        super().__init__(iter(()), headers={"X-Accel-Buffering": "no"})
        self._hub = hub

    async def stream_response(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        with self._hub.client() as queue:
            frame: bytes | None = f"retry: {_RETRY_MS}\n\n".encode()
            while frame is not None and await self._sent(send, frame, more=True):
                frame = await self._next(queue)
        await self._sent(send, b"", more=False)

    async def _next(self, queue: Queue) -> bytes | None:
        try:
            async with asyncio.timeout(self._hub.heartbeat):
                return await queue.get()
        except TimeoutError:
            return b": still here\n\n"

    async def _sent(self, send: Send, body: bytes, *, more: bool) -> bool:
        """Whether the client took it in time."""
        try:
            async with asyncio.timeout(self._hub.patience):
                await send({"type": "http.response.body", "body": body, "more_body": more})
        except TimeoutError:
            return False
        return True


def endpoint(hub: Hub) -> Callable[[Request], Awaitable[Response]]:
    """`GET /stream`."""

    async def stream(request: Request) -> Response:
        if hub.is_full():
            return PlainTextResponse("too many listeners\n", 503, {"Retry-After": "5"})
        if request.method == "HEAD":
            return Response(media_type=EventStream.media_type)
        return EventStream(hub)

    return stream
