"""An installation on a broker that asks who you are: each process with credentials of its own."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from connectors import examples
from connectors.kafka import Cluster
from connectors.registry import PROVIDERS
from connectors.sandbox.send import Post, Reply
from streams import admin, child, schema_ids, wiring
from streams.acls import Acl, Resource, acls
from streams.settings import load
from tests.security.secured import Secured, environment
from tests.waiting import until_sync

PREFIX = "own."
TOKEN = "a token for acting"
PROCESSES = ("receive", "work", "lookup", "settle", "board", "web")
# Each alone, and both in one process: whoever serves them needs the rights for them.
EDGES, BOARDS = ("receive", "web"), ("board", "web")
EVERY = acls(load().providers(), PREFIX)
TYPES: dict[Resource, ResourceType] = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}
_ASKED = re.compile(
    r"Principal = User:(\S+) is (Allowed|Denied) operation = (\S+) from host = \S+ "
    r"on resource = (\w+):LITERAL:(\S+) "
)


def as_kafka(acl: Acl) -> tuple[Any, ...]:
    pattern = ResourcePatternType.PREFIXED if acl.prefixed else ResourcePatternType.LITERAL
    operation = AclOperation[acl.operation]
    allow = AclPermissionType.ALLOW
    return TYPES[acl.resource], acl.name, pattern, f"User:{acl.process}", "*", operation, allow


class Installation:
    """The processes of one installation, each with its own credentials."""

    def __init__(self, secured: Secured, folder: Path) -> None:
        self.secured = secured
        self.folder = folder
        self.ports = {name: child.free_port() for name in (*PROCESSES, "sandbox")}
        self._places: dict[str, Any] = {
            "data_dir": folder,
            "sandbox": {"port": self.ports["sandbox"]},
        }
        self._children: list[subprocess.Popen[bytes]] = []

    @property
    def operator(self) -> Cluster:
        return Cluster(self.secured.operator.brokers, PREFIX)

    def start(self) -> "Installation":
        self.admin = AdminClient(self.operator.librdkafka())
        self.password = {name: uuid4().hex for name in (*PROCESSES, "care", "replay", "tail")}
        for name, password in self.password.items():
            self.secured.add_user(name, password)
        self.allow(EVERY)
        admin.create(self.cluster("care"), wiring.topics(), partitions=1, replication=1)
        schema_ids.note_own(self.cluster("care"))
        for name in (*PROCESSES, "sandbox"):
            argv = [sys.executable, "-m", "streams.cli", name]
            log = self.folder / f"{name}.log"
            self._children.append(child.spawn(argv, log, self.environment(name)))
        for name in PROCESSES:
            until_sync(partial(self._is_ready, name), f"{name}: {self.said(name)}", 60)
        return self

    def stop(self) -> None:
        for one in self._children:
            one.terminate()
        for one in self._children:
            child.stop(one, 10)

    def cluster(self, name: str) -> Cluster:
        """The cluster as `name` reaches it."""
        return self.secured.scram(name, self.password[name], PREFIX)

    def environment(self, name: str) -> dict[str, str]:
        """The settings of a process, simulated providers and all."""
        if name == "sandbox":
            cluster, port = self.operator, self.ports["sandbox"]
        else:
            cluster, port = self.cluster(name), self.ports[name]
        edge = self.url("web" if name == "web" else "receive")
        return {
            **wiring.sandbox_environment(load(**self._places, edge_url=edge), PROVIDERS),
            **environment(cluster),
            "LINKSTATUS_EDGE_URL": edge,
            "LINKSTATUS_DATA_DIR": str(self.folder),
            "LINKSTATUS_SANDBOX__PORT": str(port),
            "LINKSTATUS_HTTP__PORT": str(port),
            "LINKSTATUS_BOARD__TOKEN": TOKEN,
            "LINKSTATUS_DATABASE_URL": f"sqlite:///{self.folder / name}.sqlite",
        }

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def said(self, name: str) -> str:
        return child.tail(self.folder / f"{name}.log")

    def send(self, provider: str, name: str, edge: str = "receive") -> int:
        """What an edge answers to a provider's example."""
        body, kind = examples.body(provider, name), examples.content_type(provider, name)
        sending = wiring.Sending([Post(name, body, kind, name)])
        replies: list[Reply] = []
        # Peach signs the address that it calls.
        there = load(**self._places, edge_url=self.url(edge))
        wiring.send(there, provider, sending, replies.append)
        return replies[0].status or 0

    def allow(self, some: Iterable[Acl]) -> None:
        for future in self.admin.create_acls([AclBinding(*as_kafka(acl)) for acl in some]).values():
            future.result(20)

    def forbid(self, some: Iterable[Acl]) -> None:
        filters = [AclBindingFilter(*as_kafka(acl)) for acl in some]
        for future in self.admin.delete_acls(filters).values():
            assert len(future.result(20)) == 1

    def see(self, path: str, condition: Callable[[Any], bool], board: str = "board") -> None:
        seen: list[Any] = [None]

        def holds() -> bool:
            seen[:] = [httpx.get(self.url(board) + path).json()]
            return condition(seen[0])

        try:
            until_sync(holds, path)
        except AssertionError as error:
            raise AssertionError(f"{error}, last seen {str(seen)[:10000]}") from None

    def asked(self) -> list[tuple[str, str, str, str, str]]:
        """What the authorizer decided: principal, decision, operation, resource, name."""
        logs = sorted((self.secured.broker.folder).glob("server.log*"), reverse=True)
        return [found for log in logs for found in _ASKED.findall(log.read_text(errors="replace"))]

    def _is_ready(self, name: str) -> bool:
        try:
            return httpx.get(f"{self.url(name)}/readyz").status_code == 200
        except httpx.TransportError:
            return False
