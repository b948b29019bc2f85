"""The system under test: embedded brokers and the real processes, restarted when they end."""

import json
import signal
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import make_url

from connectors.http.server import Address
from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from connectors.sandbox.config import SandboxConfig, load_secrets, sandbox_environment, simulator_of
from schemas.topics import all_topics
from streams.admin import topics
from streams.settings import Settings, load
from tests.chaos.brokers import Brokers
from tests.chaos.clock import JumpingClock
from tests.chaos.network import HOST, Network
from tests.chaos.notified import FailingReceiver
from tests.chaos.process import Process
from tests.chaos.schedule import (
    BROKER,
    CALLBACKS,
    CLIENTS,
    DATABASE,
    EXTRA_WORKER,
    HTTP_LINKS,
    OTHERS,
    WORKERS,
)
from tests.support import processes
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.processes import PORT

STALL_SECONDS = 30.0
POLLING_SECONDS = 8.0
# The longest time that a process may take to stop.
STOP_SECONDS = 15.0
_STEADY = (*WORKERS, *OTHERS)


@dataclass(slots=True)
class System:
    """Use it from the main thread only: children end with the thread that started them."""

    folder: Path
    chance: Random
    partitions: int = 8
    # 1, or 3 that replicate.
    broker_count: int = 1
    postgres: bool = False
    # The processes whose clocks may jump.
    jumping: Collection[str] = ()
    hung: list[str] = field(default_factory=list)
    # Unexpected exits: name and exit code.
    exits: list[str] = field(default_factory=list)
    processes: dict[str, Process] = field(init=False)
    brokers: Brokers = field(init=False)
    sandbox: SandboxConfig = field(init=False)
    receiver: FailingReceiver = field(init=False)
    network: Network = field(init=False)
    # The SQLAlchemy URL of the board's database, without a link.
    database: str = field(init=False)
    clocks: dict[str, JumpingClock] = field(init=False)
    _postgres: Postgres | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.network = Network()
        self.brokers = Brokers(self.folder, self.broker_count, self.network, CLIENTS)
        ports = {name: free_port() for name in (*_STEADY, EXTRA_WORKER)}
        edge = self.network.add(CALLBACKS, (HOST, ports["edge"]))
        self.sandbox = SandboxConfig(
            address=Address(HOST, ports["sandbox"]),
            data_dir=self.folder,
            edge_url=f"http://{HOST}:{edge}",
            secrets=load_secrets(self.folder),
        )
        self.receiver = FailingReceiver(Random(self.chance.random()))
        self.database = f"sqlite:///{self.folder / 'board.sqlite'}"
        self.clocks = {name: JumpingClock(self.folder / f"clock-{name}") for name in self.jumping}
        environment = self._environment() | self._database()
        self.processes = {
            name: Process(
                name,
                {**environment, **self._world_of(name), PORT: str(port)},
                self.folder / f"{name}.log",
            )
            for name, port in ports.items()
        }

    @property
    def cluster(self) -> Cluster:
        return Cluster(self.brokers.addresses)

    def _database(self) -> dict[str, str]:
        """Start PostgreSQL, if the board uses it, and return the setting that names it."""
        if not self.postgres:
            return {}
        self._postgres = server = Postgres().start()
        self.database = server.url(server.database())
        port = self.network.add(DATABASE, server.socket)
        linked = make_url(self.database).set(host=HOST, port=port, query={})
        return {"LINKSTATUS_DATABASE_URL": linked.render_as_string()}

    def _environment(self) -> dict[str, str]:
        receiver = urlsplit(self.receiver.url)
        webhooks = self.network.add("notify>receiver", (HOST, receiver.port or 80))
        endpoints = self.receiver.settings(f"http://{HOST}:{webhooks}")
        return {
            **processes.environment(self.cluster, self.folder),
            "LINKSTATUS_PARTITIONS": str(self.partitions),
            "LINKSTATUS_EDGE_URL": self.sandbox.edge_url,
            "LINKSTATUS_SANDBOX__PORT": str(self.sandbox.address.port),
            "LINKSTATUS_STALL_SECONDS": str(STALL_SECONDS),
            "LINKSTATUS_POLLING__FIRST_SECONDS": str(POLLING_SECONDS),
            "LINKSTATUS_POLLING__LONGEST_SECONDS": str(POLLING_SECONDS),
            "LINKSTATUS_NOTIFY__ENDPOINTS": json.dumps(endpoints),
            "LINKSTATUS_LOOKUPS__PER_SECOND": "100",
            "LINKSTATUS_LOOKUPS__UNISSUED_PER_MINUTE": "600",
            **sandbox_environment(self.sandbox, PROVIDERS),
        }

    def _world_of(self, name: str) -> dict[str, str]:
        """Return the clock and the addresses of other servers as this process sees them."""
        found: dict[str, str] = {}
        if name in self.clocks:
            found |= self.clocks[name].environment()
        if name in CLIENTS:
            found["LINKSTATUS_BROKERS"] = self.brokers.addresses_of(name)
        if (link := f"{name}>providers") in HTTP_LINKS:
            port = self.network.add(link, (HOST, self.sandbox.address.port))
            linked = replace(self.sandbox, address=Address(HOST, port))
            found |= sandbox_environment(linked, PROVIDERS)
        return found

    def settings(self) -> Settings:
        """Return the providers' settings, as the processes have them."""
        sections = {
            name: {
                key.lower(): _value(text)
                for key, text in simulator_of(name).environment(self.sandbox.site(name)).items()
            }
            for name in PROVIDERS
        }
        return load(**sections)

    def start(self) -> None:
        """Start everything together, the workers on an empty cluster, and wait for it."""
        self.brokers.start()
        replication = self.brokers.replication
        topics.create(self.cluster, all_topics(PROVIDERS), self.partitions, replication)
        for name in _STEADY:
            self.processes[name].start()
        if late := self.wait_ready(90.0):
            raise RuntimeError(f"never ready: {', '.join(late)}; see {self.folder}")

    def supervise(self) -> None:
        """Restart what ended, kill what does not stop, and start what is due."""
        now = time.monotonic()
        self.brokers.supervise(now)
        for process in self.processes.values():
            if process.child is None:
                if process.start_at is not None and now >= process.start_at:
                    process.start()
            elif (code := process.child.poll()) is not None:
                self._plan_restart(process, code, now)
            elif process.stopping_since and now - process.stopping_since > STOP_SECONDS:
                self.hung.append(f"{process.name} did not stop within {STOP_SECONDS:.0f} s")
                process.child.kill()

    def _plan_restart(self, process: Process, code: int, now: float) -> None:
        if process.stopping_since is None:
            self.exits.append(f"{process.name} with {code}")
        if process.restart_after is not None:
            process.start_at = now + max(process.restart_after, self.chance.uniform(0.2, 1.0))
        process.child, process.stopping_since, process.restart_after = None, None, 0.0

    def end(self, name: str, kill: bool, restart_after: float | None = 0.0) -> bool:
        """End a process. Return False if it does not run, or is stopping already, or is suspended
        and cannot stop.
        """
        process = self.processes[name]
        if process.child is None or not (process.runs() or (kill and process.suspended)):
            return False
        process.stopping_since, process.restart_after = time.monotonic(), restart_after
        if kill:
            process.child.kill()
        else:
            process.child.terminate()
        return True

    def suspend(self, name: str) -> bool:
        """Suspend a process or a broker. Return False if it does not run."""
        if name.startswith(BROKER):
            return self.brokers.node(name).suspend()
        process = self.processes[name]
        if process.runs():
            process.send(signal.SIGSTOP)
            process.suspended = True
            return True
        return False

    def resume(self, name: str) -> None:
        """Let a suspended process or broker go on, if it has not been killed."""
        if name.startswith(BROKER):
            return self.brokers.node(name).resume()
        self.processes[name].suspended = False
        self.processes[name].send(signal.SIGCONT)

    def fill_disk(self, name: str) -> bool:
        """Let a process or a broker write to no file. Return False if it does not run."""
        if name.startswith(BROKER):
            return self.brokers.node(name).fill_disk()
        return self.processes[name].fill_disk(True)

    def free_disk(self, name: str) -> None:
        if name.startswith(BROKER):
            return self.brokers.node(name).free_disk()
        self.processes[name].fill_disk(False)

    def restart(self, name: str) -> None:
        """End a process or a broker in order, if it runs. It starts again."""
        if name.startswith(BROKER):
            return self.brokers.node(name).restart()
        self.end(name, kill=False)

    def is_back(self, name: str) -> bool:
        """Whether a process or a broker runs and is ready."""
        if name.startswith(BROKER):
            return self.brokers.node(name).runs()
        process = self.processes[name]
        return process.runs() and process.is_ready()

    def add(self, name: str) -> None:
        """Start a process that does not run."""
        process = self.processes[name]
        if process.child is None and process.start_at is None:
            process.start_at = time.monotonic()

    def names(self) -> list[str]:
        """Return the names of all steady processes, and of the brokers if there are several."""
        several = self.broker_count > 1
        return [*_STEADY, *(self.brokers.names() if several else ())]

    def is_complete(self) -> bool:
        """Whether the brokers and all steady processes run."""
        return self.brokers.run() and all(self.processes[name].child for name in _STEADY)

    def wait_ready(self, seconds: float) -> list[str]:
        """Wait for every steady process. Return the names of those that are not ready in time."""
        deadline, late = time.monotonic() + seconds, list(_STEADY)
        while late and time.monotonic() < deadline:
            self.supervise()
            late = [name for name in _STEADY if not self.processes[name].is_ready()]
            time.sleep(0.1)
        return late

    def stop(self, *names: str) -> None:
        """Stop these processes, or all, and do not start them again."""
        chosen = [self.processes[name] for name in names or self.processes]
        for process in chosen:
            process.start_at = None
            self.end(process.name, kill=False, restart_after=None)
        while any(process.child is not None for process in chosen):
            self.supervise()
            time.sleep(0.05)

    def close(self) -> None:
        """Kill everything that still runs."""
        for process in self.processes.values():
            if process.child is not None:
                process.child.kill()
                process.child.wait()
        self.receiver.close()
        self.brokers.stop()
        self.network.close()
        if self._postgres:
            self._postgres.stop()


def _value(text: str) -> Any:
    """Parse a setting as the environment has it: lists are JSON."""
    return json.loads(text) if text.startswith("[") else text
