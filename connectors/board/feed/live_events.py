"""Server-sent events: every status change, to all clients that listen.

Plain Starlette: sse-starlette patches uvicorn's server class and does not see our orderly shutdown.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from prometheus_client import Counter, Gauge
from starlette.responses import StreamingResponse
from starlette.types import Send

from connectors.board.database.projection import Message
from connectors.serialize import as_json
from schemas import codec
from schemas import records as r

_CLIENTS = Gauge("linkstatus_board_stream_clients", "Clients of the live stream.")
_DROPPED = Counter("linkstatus_board_stream_dropped_total", "Clients dropped for being too slow.")
_RETRY_MS = 2000

# The frames that wait for one client; None ends its stream.
Queue = asyncio.Queue[bytes | None]


class Hub:
    """Hands events to the clients. A client that does not keep up is dropped; it may reconnect.

    At most `queue_size` frames wait for a client, and sending one takes at most `send_timeout`
    seconds. After `heartbeat` seconds without an event a client gets a comment.
    """

    def __init__(
        self,
        *,
        queue_size: int = 5000,
        max_clients: int = 100,
        heartbeat: float = 15.0,
        send_timeout: float = 10.0,
    ) -> None:
        self._queue_size = queue_size
        self._max_clients = max_clients
        self.heartbeat = heartbeat
        self.send_timeout = send_timeout
        self._queues: set[Queue] = set()
        self._closed = False

    def publish(
        self, changes: Sequence[tuple[Message, r.LinkStatus]], activity: Mapping[str, int]
    ) -> None:
        """Send status changes, and how many rows each table gained."""
        if not self._queues:
            return
        for message, status in changes:
            self._send(_link_event(message, status))
        self._send(f"event: activity\ndata: {json.dumps(dict(activity))}\n\n".encode())

    def close(self) -> None:
        """End every stream: the server would wait for them at its shutdown."""
        self._closed = True
        for queue in list(self._queues):
            self._drop(queue)

    def is_full(self) -> bool:
        return self._closed or len(self._queues) >= self._max_clients

    @contextmanager
    def client(self) -> Iterator[Queue]:
        """Register a client; its frames come through the queue."""
        queue: Queue = asyncio.Queue(self._queue_size)
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
    origin = f"{message.topic}/{message.partition}/{message.offset}"
    return f"event: link\nid: {origin}\ndata: {data}\n\n".encode()


class EventStream(StreamingResponse):
    """The stream of one client."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub) -> None:
        super().__init__(iter(()), headers={"X-Accel-Buffering": "no"})
        self._hub = hub

    async def stream_response(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        with self._hub.client() as queue:
            frame: bytes | None = f"retry: {_RETRY_MS}\n\n".encode()
            while frame is not None and await self._send(send, frame, more=True):
                frame = await self._next(queue)
        await self._send(send, b"", more=False)

    async def _next(self, queue: Queue) -> bytes | None:
        try:
            async with asyncio.timeout(self._hub.heartbeat):
                return await queue.get()
        except TimeoutError:
            return b": still here\n\n"

    async def _send(self, send: Send, body: bytes, *, more: bool) -> bool:
        """Send to the client; return whether it took the bytes in time."""
        try:
            async with asyncio.timeout(self._hub.send_timeout):
                await send({"type": "http.response.body", "body": body, "more_body": more})
        except TimeoutError:
            return False
        return True
