"""An aiokafka client's connection to the simulated broker. All else of aiokafka is the real one."""

import asyncio
from typing import Any

from aiokafka.conn import CloseReason
from aiokafka.errors import KafkaConnectionError
from aiokafka.util import wait_for

from tests.simulation.broker import VERSIONS, Broker
from tests.simulation.cluster import SimulatedKafka
from tests.simulation.loop import Main, SimulatedLoop
from tests.simulation.scheduler import Process

_CONNECT_SECONDS = 0.002


class KafkaLoop(SimulatedLoop):
    """The event loop of a process that reaches the cluster."""

    def __init__(self, process: Process, kafka: SimulatedKafka, main: Main) -> None:
        self.kafka = kafka
        # The HTTP server, once it is open.
        self.server: object = None
        super().__init__(process, main)


async def connect(host: str, port: int, **options: Any) -> "Connection":
    """Do what `aiokafka.conn.create_conn` does. Raises OSError."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, KafkaLoop)
    await asyncio.sleep(_CONNECT_SECONDS)
    if loop.kafka.network.away_seconds:
        raise ConnectionRefusedError
    return Connection(loop, **options)


class Connection:
    """What the client calls of `aiokafka.conn.AIOKafkaConnection`. A request that is lost breaks
    it, and so does a broker that goes away.
    """

    def __init__(
        self,
        loop: KafkaLoop,
        *,
        client_id: str,
        request_timeout_ms: int,
        on_close: Any = None,
        **_: Any,
    ) -> None:
        self._process, self._network = loop.process, loop.kafka.network
        self._broker = Broker(loop.kafka, client_id)
        self._loop, self._on_close = loop, on_close
        self._seconds = request_timeout_ms / 1000
        self._waiting: dict[asyncio.Future[Any], None] = {}
        self._closed = loop.create_future()

    def connected(self) -> bool:
        return not self._closed.done()

    def send(self, request: Any, expect_response: bool = True) -> Any:
        """Return what awaits the response. Raises KafkaConnectionError."""
        if not self.connected():
            raise KafkaConnectionError("no connection to the broker")
        message, response = request.prepare(VERSIONS), self._loop.create_future()
        self._waiting[response] = None
        response.add_done_callback(lambda done: self._waiting.pop(done, None))

        def receive(answer: Any) -> None:
            if not response.done():
                response.set_result(answer)

        kind, handle = self._broker.request(message)
        self._network.send_once(self._process, kind, handle, receive, self._break)
        return wait_for(response, self._seconds)

    def _break(self) -> None:
        self.close(CloseReason.CONNECTION_BROKEN)

    def close(
        self, reason: CloseReason | None = None, exc: BaseException | None = None
    ) -> asyncio.Future[None]:
        if self.connected():
            self._closed.set_result(None)
            for response in [*self._waiting]:
                response.set_exception(KafkaConnectionError("the connection is closed"))
            if self._on_close is not None:
                self._on_close(self, reason)
        return self._closed
