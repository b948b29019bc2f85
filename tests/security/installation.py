"""An installation on a broker with an authorizer: each process has its own credentials."""

import json
import re
import subprocess
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

from connectors.kafka.cluster import Cluster
from connectors.providers import examples
from connectors.providers.registry import PROVIDERS
from connectors.sandbox.send import Post, Reply
from connectors.schema_registry import noted_ids
from schemas.topics import all_topics
from streams import wiring
from streams.admin import topics
from streams.admin.acls import Acl, Resource, acls
from streams.local import subprocesses
from streams.settings import load
from tests.security.secured import Secured, environment
from tests.support.ports import free_port
from tests.support.processes import is_ready, spawn
from tests.support.receiver import SECRET
from tests.support.waiting import until_sync

ALL_TOPICS = all_topics(PROVIDERS)

PREFIX = "own."
TOKEN = "a token for actions"
# It is away, and its events wait.
ENDPOINTS = {"away": {"url": "http://127.0.0.1:9/", "secrets": [SECRET]}}
PROCESSES = ("receive", "work", "lookup", "settle", "notify", "board", "web")
# The processes that serve the edge and the board: each needs their rights.
EDGES, BOARDS = ("receive", "web"), ("board", "web")
ACLS = acls(load().existing_providers(), PREFIX)
TYPES: dict[Resource, ResourceType] = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}
# Enough for links, payments and orders of the examples to belong to different partitions.
PARTITIONS = 8
_DECISION = re.compile(
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
        self.ports = {name: free_port() for name in (*PROCESSES, "sandbox")}
        self._settings: dict[str, Any] = {
            "data_dir": folder,
            "sandbox": {"port": self.ports["sandbox"]},
        }
        self._children: list[subprocess.Popen[bytes]] = []

    @property
    def operator(self) -> Cluster:
        return Cluster(self.secured.operator.brokers, PREFIX)

    def start(self) -> "Installation":
        self.admin = AdminClient(self.operator.librdkafka())
        names = (*PROCESSES, "care", "replay", "reconcile", "import", "tail")
        self.password = {name: uuid4().hex for name in names}
        for name, password in self.password.items():
            self.secured.add_user(name, password)
        self.allow(ACLS)
        topics.create(self.cluster("care"), ALL_TOPICS, partitions=PARTITIONS, replication=1)
        noted_ids.note_own(self.cluster("care"))
        for name in (*PROCESSES, "sandbox"):
            log = self.folder / f"{name}.log"
            self._children.append(spawn(name, log, self.environment(name)))
        for name in PROCESSES:
            ready = partial(is_ready, self.ports[name])
            until_sync(ready, f"{name}, see {self.folder / name}.log", 60)
        return self

    def stop(self) -> None:
        for one in self._children:
            one.terminate()
        for one in self._children:
            subprocesses.stop(one, 10)

    def cluster(self, name: str) -> Cluster:
        """The cluster with the credentials of `name`."""
        return self.secured.scram(name, self.password[name], PREFIX)

    def environment(self, name: str) -> dict[str, str]:
        """The settings of a process, with simulated providers."""
        if name == "sandbox":
            cluster, port = self.operator, self.ports["sandbox"]
        else:
            cluster, port = self.cluster(name), self.ports[name]
        edge = self.url("web" if name == "web" else "receive")
        return {
            **wiring.sandbox_environment(load(**self._settings, edge_url=edge), PROVIDERS),
            **environment(cluster),
            "LINKSTATUS_EDGE_URL": edge,
            "LINKSTATUS_DATA_DIR": str(self.folder),
            "LINKSTATUS_SANDBOX__PORT": str(port),
            "LINKSTATUS_HTTP__PORT": str(port),
            "LINKSTATUS_BOARD__TOKEN": TOKEN,
            "LINKSTATUS_NOTIFY__ENDPOINTS": json.dumps(ENDPOINTS),
            "LINKSTATUS_DATABASE_URL": f"sqlite:///{self.folder / name}.sqlite",
        }

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def send(self, provider: str, name: str, edge: str = "receive") -> int:
        """The edge's answer to a provider's example."""
        body, kind = examples.body(provider, name), examples.content_type(provider, name)
        replies: list[Reply] = []
        # Peach signs the URL that it calls.
        settings = load(**self._settings, edge_url=self.url(edge))
        wiring.send(settings, provider, [Post(name, body, kind, name)], replies.append)
        return replies[0].status or 0

    def allow(self, acls: Iterable[Acl]) -> None:
        for future in self.admin.create_acls([AclBinding(*as_kafka(acl)) for acl in acls]).values():
            future.result(20)

    def forbid(self, acls: Iterable[Acl]) -> None:
        filters = [AclBindingFilter(*as_kafka(acl)) for acl in acls]
        for future in self.admin.delete_acls(filters).values():
            assert len(future.result(20)) == 1

    def see(self, path: str, condition: Callable[[Any], bool], board: str = "board") -> None:
        """Wait until the board's answer meets the condition."""
        until_sync(lambda: condition(httpx.get(self.url(board) + path).json()), path)

    def decisions(self) -> list[tuple[str, str, str, str, str]]:
        """The authorizer's decisions: principal, decision, operation, resource, name."""
        logs = sorted((self.secured.broker.folder).glob("server.log*"), reverse=True)
        return [
            decision
            for log in logs
            for decision in _DECISION.findall(log.read_text(errors="replace"))
        ]
