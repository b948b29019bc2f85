"""The system under test: an embedded broker and the real processes, restarted when they end."""

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from connectors.kafka import Cluster
from connectors.process import Address
from connectors.registry import PROVIDERS
from connectors.sandbox.sites import (
    SandboxConfig,
    load_secrets,
    sandbox_environment,
    sandbox_of,
)
from schemas.topics import all_topics
from streams import admin, child
from streams.embedded import Broker
from streams.settings import Settings, load
from tests.chaos.member import Member
from tests.chaos.schedule import GUEST, OTHERS, WORKERS

ROOT = Path(__file__).parents[2]
STALL_SECONDS = 30.0
# How long a process may take to end when it is told to.
ENDING_SECONDS = 15.0
_STEADY = (*WORKERS, *OTHERS)


@dataclass(slots=True)
class System:
    """Use it from the main thread alone: children end with the thread that started them."""

    folder: Path
    chance: Random
    polling_seconds: float = 8.0
    hung: list[str] = field(default_factory=list)
    # Ends that nobody asked for: name and exit code.
    ended: list[str] = field(default_factory=list)
    members: dict[str, Member] = field(init=False)
    broker: Broker = field(init=False)
    sandbox: SandboxConfig = field(init=False)
    partitions: int = 8
    _broker_due: float | None = None
    _broker_starting: Future[None] | None = None
    # A broker ends with the thread that started it: this one lives as long as the system.
    _keeper: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        names = (*_STEADY, GUEST)
        self.broker = Broker(self.folder, port=child.free_port())
        by_name = {name: child.free_port() for name in names}
        self.sandbox = SandboxConfig(
            address=Address("127.0.0.1", by_name["sandbox"]),
            data_dir=self.folder,
            edge_url=f"http://127.0.0.1:{by_name['edge']}",
            secrets=load_secrets(self.folder),
        )
        environment = self._environment()
        self.members = {
            name: Member(
                name,
                {**environment, "LINKSTATUS_HTTP__PORT": str(port)},
                port,
                self.folder / f"{name}.log",
            )
            for name, port in by_name.items()
        }

    @property
    def cluster(self) -> Cluster:
        return Cluster(self.broker.brokers)

    def _environment(self) -> dict[str, str]:
        polling, pythonpath = str(self.polling_seconds), str(ROOT)
        return {
            "PYTHONPATH": pythonpath,
            "LINKSTATUS_BROKERS": self.broker.brokers,
            "LINKSTATUS_DATA_DIR": str(self.folder),
            "LINKSTATUS_PARTITIONS": str(self.partitions),
            "LINKSTATUS_EDGE_URL": self.sandbox.edge_url,
            "LINKSTATUS_SANDBOX__PORT": str(self.sandbox.address.port),
            "LINKSTATUS_STALL_SECONDS": str(STALL_SECONDS),
            "LINKSTATUS_POLLING__FIRST_SECONDS": polling,
            "LINKSTATUS_POLLING__LONGEST_SECONDS": polling,
            "LINKSTATUS_LOOKUPS__PER_SECOND": "100",
            "LINKSTATUS_LOOKUPS__UNISSUED_PER_MINUTE": "600",
            **sandbox_environment(self.sandbox, PROVIDERS),
        }

    def settings(self) -> Settings:
        """The settings of the processes, as far as they are of providers."""
        sections = {
            name: {key.lower(): _value(text) for key, text in kind.environment(site).items()}
            for name in PROVIDERS
            for kind, site in [(sandbox_of(name), self.sandbox.site(name))]
        }
        return load(**sections)

    def start(self) -> None:
        """Starts everything at once, both workers on an empty cluster; returns when it is ready."""
        self._keeper.submit(self.broker.start).result()
        admin.create(self.cluster, all_topics(PROVIDERS), self.partitions, 1)
        for name in _STEADY:
            self.members[name].start()
        if late := self.wait_ready(90.0):
            raise RuntimeError(f"never ready: {', '.join(late)}; see {self.folder}")

    def tend(self) -> None:
        """Restarts what ended, kills what does not end, and starts what is due."""
        now = time.monotonic()
        if self._broker_due is not None and now >= self._broker_due:
            self._broker_due = None
            self._broker_starting = self._keeper.submit(self.broker.start)
        if self._broker_starting is not None and self._broker_starting.done():
            self._broker_starting.result()
            self._broker_starting = None
        for member in self.members.values():
            if member.process is None:
                if member.due is not None and now >= member.due:
                    member.start()
            elif (code := member.process.poll()) is not None:
                self._note_end(member, code, now)
            elif member.told_at is not None and now - member.told_at > ENDING_SECONDS:
                self.hung.append(f"{member.name} did not end within {ENDING_SECONDS:.0f} s")
                member.process.kill()

    def _note_end(self, member: Member, code: int, now: float) -> None:
        if member.told_at is None:
            self.ended.append(f"{member.name} with {code}")
        wait = member.away
        member.process, member.told_at, member.away = None, None, 0.0
        if wait is not None:
            member.due = now + max(wait, self.chance.uniform(0.2, 1.0))

    def end(self, name: str, kill: bool, away: float | None = 0.0) -> bool:
        """Ends a process, to be back `away` seconds later, never if None. False if it is away."""
        member = self.members[name]
        if member.process is None or member.told_at is not None:
            return False
        member.told_at, member.away = time.monotonic(), away
        if kill:
            member.process.kill()
        else:
            member.process.terminate()
        return True

    def invite(self, name: str) -> None:
        """Starts a process that is not there."""
        member = self.members[name]
        if member.process is None and member.due is None:
            member.due = time.monotonic()

    def lose_broker(self, seconds: float) -> bool:
        """Kills the broker, to be back so many seconds later."""
        if self._broker_due is not None or self._broker_starting is not None:
            return False
        self.broker.kill()
        self._broker_due = time.monotonic() + seconds
        return True

    def whole(self) -> bool:
        """Whether the broker and all steady processes run."""
        running = all(self.members[name].process is not None for name in _STEADY)
        return running and self._broker_due is None and self._broker_starting is None

    def wait_ready(self, seconds: float) -> list[str]:
        """Tends until every steady process is ready; the names of those that are not in time."""
        deadline, late = time.monotonic() + seconds, list(_STEADY)
        while late and time.monotonic() < deadline:
            self.tend()
            late = [name for name in _STEADY if not self.members[name].ready()]
            time.sleep(0.1)
        return late

    def stop(self, *names: str) -> None:
        """Ends these processes, or all, and keeps them from coming back."""
        chosen = [self.members[name] for name in names] if names else list(self.members.values())
        for member in chosen:
            member.due = None
            self.end(member.name, kill=False, away=None)
        while any(member.process is not None for member in chosen):
            self.tend()
            time.sleep(0.05)

    def close(self) -> None:
        """Ends everything, whatever happened before."""
        for member in self.members.values():
            if member.process is not None:
                member.process.kill()
                member.process.wait()
        self._keeper.submit(self.broker.stop).result()
        self._keeper.shutdown()


def _value(text: str) -> Any:
    """A setting as the environment has it: lists are JSON."""
    return json.loads(text) if text.startswith("[") else text
