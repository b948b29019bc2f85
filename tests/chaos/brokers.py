"""The Kafka cluster of a seed: one broker, or three that replicate (replication 3, at least two in
sync), and what kills and starts them.
"""

import os
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from streams.local.broker import Broker, new_cluster_id
from tests.chaos.schedule import BROKER
from tests.support.ports import free_port

_REPLICATED = (
    "default.replication.factor",
    "offsets.topic.replication.factor",
    "transaction.state.log.replication.factor",
    "share.coordinator.state.topic.replication.factor",
)
_IN_SYNC = (
    "min.insync.replicas",
    "transaction.state.log.min.isr",
    "share.coordinator.state.topic.min.isr",
)


class Node:
    """One broker. It ends with the thread that started it: that thread lives as long as this."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._thread = ThreadPoolExecutor(1)
        self._start_at: float | None = None
        self._starting: Future[None] | None = None
        self._suspended = False

    def start(self) -> Future[None]:
        return self._thread.submit(self.broker.start)

    def kill(self, seconds: float) -> bool:
        """Kill the broker, and start it again after `seconds`. Return False if it is away."""
        if not self.runs() and not self._suspended:
            return False
        self._suspended = False
        self.broker.kill()
        self._start_at = time.monotonic() + seconds
        return True

    def suspend(self) -> bool:
        """Suspend the broker. Return False if it is away."""
        if self.runs() and self.broker.pid:
            os.kill(self.broker.pid, signal.SIGSTOP)
            self._suspended = True
        return self._suspended

    def resume(self) -> None:
        """Let a suspended broker go on, if it has not been killed."""
        if self._suspended and self.broker.pid:
            os.kill(self.broker.pid, signal.SIGCONT)
        self._suspended = False

    def runs(self) -> bool:
        return self._start_at is None and self._starting is None and not self._suspended

    def supervise(self, now: float) -> None:
        """Start it when it is due. Raises BrokerFailed if the start has failed."""
        if self._start_at is not None and now >= self._start_at:
            self._start_at = None
            self._starting = self.start()
        if self._starting is not None and self._starting.done():
            self._starting.result()
            self._starting = None

    def stop(self) -> None:
        self._thread.submit(self.broker.stop).result()
        self._thread.shutdown()


class Brokers:
    """The brokers, numbered from 0."""

    def __init__(self, folder: Path, count: int) -> None:
        self.nodes = [Node(broker) for broker in _brokers(folder, count)]
        self.replication = count

    @property
    def addresses(self) -> str:
        """The bootstrap servers."""
        return ",".join(node.broker.brokers for node in self.nodes)

    def start(self) -> None:
        """Start all together: a node answers only when most of them form a quorum."""
        for start in [node.start() for node in self.nodes]:
            start.result()

    def run(self) -> bool:
        return all(node.runs() for node in self.nodes)

    def node(self, name: str) -> Node:
        """Return the broker of this name, with its number from 0 on."""
        return self.nodes[int(name.removeprefix(BROKER))]

    def supervise(self, now: float) -> None:
        for node in self.nodes:
            node.supervise(now)

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


def _brokers(folder: Path, count: int) -> list[Broker]:
    if count == 1:
        return [Broker(folder, port=free_port())]
    ports = [(free_port(), free_port()) for _ in range(count)]
    voters = ",".join(f"{n}@127.0.0.1:{control}" for n, (_, control) in enumerate(ports, 1))
    cluster_id = new_cluster_id()
    return [
        Broker(
            folder / f"broker-{number}",
            port=port,
            cluster_id=cluster_id,
            extra={
                "node.id": str(number),
                "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{control}",
                "controller.quorum.voters": voters,
                **dict.fromkeys(_REPLICATED, str(count)),
                **dict.fromkeys(_IN_SYNC, "2"),
            },
        )
        for number, (port, control) in enumerate(ports, 1)
    ]
