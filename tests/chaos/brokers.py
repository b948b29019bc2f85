"""The Kafka cluster of a seed: one broker, or three that replicate (replication 3, at least two in
sync), and what kills, suspends and starts them.
"""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from streams.local.broker import Broker, new_cluster_id
from tests.chaos.disk import limit_files
from tests.chaos.network import HOST, Network
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
        self._full = False

    def start(self) -> Future[None]:
        return self._thread.submit(self.broker.start)

    def kill(self, seconds: float) -> bool:
        """Kill the broker, and start it again after `seconds`. Return False if it is away."""
        if not self.runs() and not self._suspended and not self._full:
            return False
        self._suspended = self._full = False
        self.broker.kill()
        self._start_at = time.monotonic() + seconds
        return True

    def restart(self) -> None:
        """Stop the broker in order, and start it again, if it runs."""
        if self.runs():
            self._starting = self._thread.submit(self._restart)

    def _restart(self) -> None:
        self.broker.stop()
        self.broker.start()

    def fill_disk(self) -> bool:
        """Let no file of the broker grow: it exits. Return False if it is away."""
        if self.runs() and self.broker.pid:
            limit_files(self.broker.pid, full=True)
            self._full = True
        return self._full

    def free_disk(self) -> None:
        """Start the broker if it has exited."""
        if not self._full:
            return
        self._full = False
        if self.broker.running() and self.broker.pid:
            limit_files(self.broker.pid, full=False)
        else:
            self.broker.kill()
            self._start_at = time.monotonic()

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
        """Whether it is up, and no fault is under way."""
        planned = self._start_at is not None or self._starting is not None
        return not (planned or self._suspended or self._full)

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
    """The brokers, numbered from 0. Each client reaches each broker through a link of its own."""

    def __init__(self, folder: Path, count: int, network: Network, clients: Sequence[str]) -> None:
        self.replication = count
        self._nodes: dict[str, Node] = {}
        self._ports: dict[str, list[int]] = {client: [] for client in clients}
        controllers = [free_port() for _ in range(count)]
        quorum = ",".join(f"{n}@{HOST}:{port}" for n, port in enumerate(controllers, 1))
        cluster_id = new_cluster_id()
        for number, controller in enumerate(controllers):
            name, port = f"{BROKER}{number}", free_port()
            listeners = {}
            for client in clients:
                own = free_port()
                link = network.add(f"{client}>{name}", (HOST, own))
                self._ports[client].append(link)
                listeners[client] = own, link
            extra = {
                "node.id": str(number + 1),
                "controller.quorum.voters": quorum,
                **_listeners(port, controller, listeners),
                **(_replicated(count) if count > 1 else {}),
            }
            where = folder / name if count > 1 else folder
            broker = Broker(where, port=port, cluster_id=cluster_id, extra=extra)
            self._nodes[name] = Node(broker)

    @property
    def addresses(self) -> str:
        """The bootstrap servers, without a link."""
        return ",".join(node.broker.brokers for node in self._nodes.values())

    def addresses_of(self, client: str) -> str:
        """Return the bootstrap servers as this client sees them."""
        return ",".join(f"{HOST}:{port}" for port in self._ports[client])

    def start(self) -> None:
        """Start all together: a node answers only when most of them form a quorum."""
        for start in [node.start() for node in self._nodes.values()]:
            start.result()

    def run(self) -> bool:
        return all(node.runs() for node in self._nodes.values())

    def names(self) -> list[str]:
        return [*self._nodes]

    def node(self, name: str) -> Node:
        return self._nodes[name]

    def supervise(self, now: float) -> None:
        for node in self._nodes.values():
            node.supervise(now)

    def stop(self) -> None:
        for node in self._nodes.values():
            node.stop()


def _replicated(count: int) -> dict[str, str]:
    return {**dict.fromkeys(_REPLICATED, str(count)), **dict.fromkeys(_IN_SYNC, "2")}


def _listeners(
    port: int, controller: int, clients: Mapping[str, tuple[int, int]]
) -> dict[str, str]:
    """Return the settings of a broker that has a listener for each client: its own port, and the
    port of the link, which the client finds it at.
    """
    names = {client: client.replace("-", "").upper() for client in clients}
    own = {names[client]: f"{HOST}:{ports[0]}" for client, ports in clients.items()}
    links = {names[client]: f"{HOST}:{ports[1]}" for client, ports in clients.items()}
    plain = {"PLAINTEXT": f"{HOST}:{port}"}
    return {
        "listeners": _joined({**plain, "CONTROLLER": f"{HOST}:{controller}", **own}, "://"),
        "advertised.listeners": _joined({**plain, **links}, "://"),
        "listener.security.protocol.map": _joined(
            dict.fromkeys(("PLAINTEXT", "CONTROLLER", *names.values()), "PLAINTEXT"), ":"
        ),
        # Of each listener.
        "num.network.threads": "1",
    }


def _joined(values: Mapping[str, str], between: str) -> str:
    return ",".join(f"{name}{between}{value}" for name, value in values.items())
