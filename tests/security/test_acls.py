"""Each process as a principal of its own, on a broker that allows it what the list says.

The broker's own log tells what its authorizer was asked: nothing is denied, every entry is needed.
"""

import argparse
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from confluent_kafka import KafkaException
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
from connectors.letters import reading
from connectors.letters.letter import Wanted
from connectors.letters.replay import fresh, replay
from connectors.registry import PROVIDERS
from connectors.sandbox.send import Post, Reply
from schemas.codec import LOOKUP_REQUEST
from schemas.topics import message_key
from streams import admin, child, schema_ids, wiring
from streams.acls import Acl, Operation, Resource, acls, commands
from streams.cli.errors import Failed
from streams.settings import load
from streams.tail import records
from tests.reading import write_all
from tests.security.secured import Secured, environment
from tests.waiting import until_sync

PREFIX = "own."
TOKEN = "a token for acting"
PROCESSES = ("receive", "work", "lookup", "settle", "board")
EVERY = acls(load().providers(), PREFIX)
_TYPES: dict[Resource, ResourceType] = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}
# Whatever is read by somebody who dead-letters what is broken in it.
BREAKABLE = (
    *(f"callbacks.{name}" for name in PROVIDERS),
    *("links", "order-updates", "payment-events", "link-events", "order-events"),
    *("lookups", "order-close", "settlement"),
)
# As Kafka's tool spells them.
_OPERATIONS: dict[str, Operation] = {
    "Read": "READ",
    "Write": "WRITE",
    "Create": "CREATE",
    "Describe": "DESCRIBE",
    "DescribeConfigs": "DESCRIBE_CONFIGS",
}
DENIED = {(acl.process, "Denied") for acl in EVERY}
_ASKED = re.compile(
    r"Principal = User:(\S+) is (Allowed|Denied) operation = (\S+) from host = \S+ "
    r"on resource = (\w+):LITERAL:(\S+) "
)


def as_kafka(acl: Acl) -> tuple[Any, ...]:
    pattern = ResourcePatternType.PREFIXED if acl.prefixed else ResourcePatternType.LITERAL
    operation = AclOperation[acl.operation]
    allow = AclPermissionType.ALLOW
    return _TYPES[acl.resource], acl.name, pattern, f"User:{acl.process}", "*", operation, allow


class Installation:
    """The processes of one installation, each with its own credentials."""

    def __init__(self, secured: Secured, folder: Path) -> None:
        self.secured = secured
        self.folder = folder
        self.ports = {name: child.free_port() for name in (*PROCESSES, "sandbox")}
        self._places: dict[str, Any] = {
            "data_dir": folder,
            "edge_url": self.url("receive"),
            "sandbox": {"port": self.ports["sandbox"]},
        }
        self._simulated = wiring.sandbox_environment(load(**self._places), PROVIDERS)
        self._children: list[subprocess.Popen[bytes]] = []

    @property
    def operator(self) -> Cluster:
        return Cluster(self.secured.operator.brokers, PREFIX)

    def start(self) -> "Installation":
        self.admin = AdminClient(self.operator.librdkafka())
        self.password = {name: uuid4().hex for name in (*PROCESSES, "care", "replay", "tail")}
        for name, password in self.password.items():
            self.secured.add_user(name, password)
        self.allow(acl for acl in EVERY if acl.process != "web")
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
        return {
            **self._simulated,
            **environment(cluster),
            "LINKSTATUS_EDGE_URL": self.url("receive"),
            "LINKSTATUS_DATA_DIR": str(self.folder),
            "LINKSTATUS_SANDBOX__PORT": str(port),
            "LINKSTATUS_HTTP__PORT": str(port),
            "LINKSTATUS_BOARD__TOKEN": TOKEN,
        }

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def said(self, name: str) -> str:
        return child.tail(self.folder / f"{name}.log")

    def send(self, provider: str, name: str) -> int:
        """What the edge answers to a provider's example."""
        body, kind = examples.body(provider, name), examples.content_type(provider, name)
        sending = wiring.Sending([Post(name, body, kind, name)])
        replies: list[Reply] = []
        wiring.send(load(**self._places), provider, sending, replies.append)
        return replies[0].status or 0

    def allow(self, some: Iterable[Acl]) -> None:
        for future in self.admin.create_acls([AclBinding(*as_kafka(acl)) for acl in some]).values():
            future.result(20)

    def forbid(self, some: Iterable[Acl]) -> None:
        filters = [AclBindingFilter(*as_kafka(acl)) for acl in some]
        for future in self.admin.delete_acls(filters).values():
            assert len(future.result(20)) == 1

    def see(self, path: str, condition: Callable[[Any], bool]) -> None:
        seen: list[Any] = [None]

        def holds() -> bool:
            seen[:] = [httpx.get(self.url("board") + path).json()]
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


@pytest.fixture(scope="module")
def installation(
    secured: Secured, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    installation = Installation(secured, tmp_path_factory.mktemp("installation"))
    try:
        yield installation.start()
    finally:
        installation.stop()


def let_everything_flow(installation: Installation) -> None:
    """Whatever makes a process use each of its rights."""
    for provider, name in (
        ("ping", "completed"),
        ("peach", "completed"),
        ("peach", "checkout"),
        ("truelayer", "payment_settled"),
        ("truelayer", "payment_created"),
        ("ipint", "completed"),
    ):
        assert installation.send(provider, name) == 200
    edge = installation.url("receive")
    httpx.post(f"{edge}/callbacks/ipint", content=b'{"invoice_id":"U1","status":"EXPLODED"}')
    httpx.post(f"{edge}/links", json={"provider": "peach", "link_id": "R1"}).raise_for_status()
    # Each process meets a record that it cannot read, and each provider is asked about a link.
    for topic in BREAKABLE:
        write_all(installation.operator, topic, [(b"ping:B1", b"\x00broken")])
    for provider in PROVIDERS:
        key = message_key(provider, "asked")
        write_all(installation.operator, "lookups", [(key, question(provider))])


def replay_everything(installation: Installation) -> None:
    """From the page, and from the command line: what is broken comes back each time."""
    broken = len(BREAKABLE) + 1
    installation.see("/dead-letters?limit=100", lambda page: len(page["dead_letters"]) == broken)
    acting = {"authorization": f"Bearer {TOKEN}", "accept": "application/json"}
    url = f"{installation.url('board')}/dead-letters/replay"
    told = httpx.post(url, data={"stage": ""}, headers=acting, timeout=30).raise_for_status()
    assert told.json()["chosen"] == broken, told.text
    again = 2 * broken
    installation.see("/dead-letters?limit=100", lambda page: len(page["dead_letters"]) == again)
    cluster = installation.cluster("replay")
    known = [note["letter"] for note in reading.replays(cluster)]
    letters = list(fresh(reading.letters(cluster, Wanted()), known))
    assert replay(cluster, letters, "somebody", per_second=1000).total() == broken


def look_behind_everything(installation: Installation) -> None:
    """A link's page shows the raw record behind each of its events."""
    board = installation.url("board")
    for row in httpx.get(f"{board}/links?limit=100").json()["links"]:
        page = f"{board}/links/{row['provider']}/{row['link_id']}"
        httpx.get(page, headers={"accept": "text/html"}, timeout=30).raise_for_status()


def cancel_a_link(installation: Installation) -> None:
    """From the page, at Ping; who asked is noted."""
    control = f"http://127.0.0.1:{installation.ports['sandbox']}/control/links"
    created = httpx.post(control, json={"provider": "ping"}).raise_for_status()
    path = f"/links/ping/{created.json()['link_id']}"
    until_sync(lambda: httpx.get(installation.url("board") + path).status_code == 200, path)
    acting = {"authorization": f"Bearer {TOKEN}"}
    told = httpx.post(f"{installation.url('board')}{path}/cancel", headers=acting, timeout=30)
    assert (told.status_code, told.json()["noted"]) == (200, True), told.text
    installation.see(path, lambda row: row["status"] == "CANCELLED")


def question(provider: str) -> bytes:
    return LOOKUP_REQUEST.encode(
        {
            "request_id": str(uuid4()),
            "provider": provider,
            "link_id": "asked",
            "reason": "CLAIM",
            "claimed_status": None,
            "payment_id": None,
            "issued": True,
            "requested_at": time.time_ns() // 1000,
        }
    )


def is_needed(acl: Acl, asked: set[tuple[str, str, str, str]]) -> bool:
    resource = acl.resource.title().replace("-", "")
    return any(
        (who, operation, kind) == (acl.process, acl.operation, resource)
        and (name.startswith(acl.name) if acl.prefixed else name == acl.name)
        for who, operation, kind, name in asked
    )


@pytest.mark.kafka
@pytest.mark.slow
def test_each_process_does_its_work_with_just_its_acls(installation: Installation) -> None:
    let_everything_flow(installation)
    installation.see("/links?status=PAID", lambda page: len(page["links"]) == 4)
    replay_everything(installation)
    look_behind_everything(installation)
    cancel_a_link(installation)
    assert admin.check(installation.cluster("care"), wiring.topics(), 1, 1) == []
    for topic in wiring.topics():
        list(records(installation.cluster("tail"), topic.name, True, True))
    assert schema_ids.notes(installation.cluster("tail"))
    mine = [acl for acl in EVERY if acl.process != "web"]

    def unneeded() -> list[Acl]:
        allowed = {(w, o, k, n) for w, d, o, k, n in installation.asked() if d == "Allowed"}
        return [acl for acl in mine if not is_needed(acl, allowed)]

    until_sync(lambda: not unneeded(), "every right to be used")
    assert [asked for asked in installation.asked() if asked[:2] in DENIED] == []


@pytest.mark.kafka
@pytest.mark.slow
def test_without_one_of_its_acls_a_process_is_denied_and_goes_on_once_it_has_it(
    installation: Installation,
) -> None:
    """Nothing that came in meanwhile is lost, and nothing was answered that was not kept."""
    taken = [
        Acl("receive", "WRITE", "topic", PREFIX + "callbacks.peach"),
        Acl("work", "WRITE", "topic", PREFIX + "link-status"),
        Acl("work", "WRITE", "transactional-id", PREFIX + "linkstatus.orders.", prefixed=True),
        Acl("lookup", "READ", "topic", PREFIX + "lookups"),
        Acl("settle", "READ", "group", PREFIX + "settle"),
        Acl("board", "READ", "topic", PREFIX + "link-events"),
        Acl("care", "DESCRIBE_CONFIGS", "topic", PREFIX + "links"),
        Acl("tail", "READ", "topic", PREFIX + "links"),
    ]
    assert set(taken) <= set(EVERY)
    installation.forbid(taken)
    assert installation.send("peach", "expired") == 503
    body = b'{"invoice_id":"later","status":"COMPLETED"}'
    httpx.post(f"{installation.url('receive')}/callbacks/ipint", content=body).raise_for_status()
    with pytest.raises(KafkaException, match="authorization failed"):
        admin.check(installation.cluster("care"), wiring.topics(), 1, 1)
    with pytest.raises(Failed, match="no right to see it"):
        list(records(installation.cluster("tail"), "links", True, True))

    def processes_denied() -> set[str]:
        return {asked[0] for asked in installation.asked() if asked[:2] in DENIED}

    until_sync(lambda: set(PROCESSES) <= processes_denied(), "each process to be denied")
    installation.allow(taken)
    installation.see(
        "/links?limit=100", lambda page: "later" in {row["link_id"] for row in page["links"]}
    )
    until_sync(lambda: installation.send("peach", "expired") == 200, "the edge to take callbacks")


def test_with_a_registry_whoever_writes_may_note_its_ids() -> None:
    more = set(acls(load().providers(), PREFIX, registry=True)) - set(EVERY)
    assert {acl.name for acl in more} == {PREFIX + "schemas", PREFIX + "linkstatus-schemas"}
    writing = {acl.process for acl in more if acl.operation == "WRITE"}
    assert writing == {*PROCESSES, "web", "tail"}


def test_the_printed_commands_say_the_same() -> None:
    """What `linkstatus topics acls` prints, read as Kafka's tool does."""
    parser = argparse.ArgumentParser()
    for name in ("--bootstrap-server", "--command-config", "--allow-principal", "--operation"):
        parser.add_argument(name, required=True)
    parser.add_argument("--add", action="store_true", required=True)
    parser.add_argument("--resource-pattern-type", default="literal")
    for resource in _TYPES:
        parser.add_argument(f"--{resource}", action="append", default=[])
    said = set()
    for line in commands(EVERY, "k:9092", "User:{process}"):
        program, *arguments = shlex.split(line)
        given = parser.parse_args(arguments)
        assert (program, given.bootstrap_server) == ("kafka-acls.sh", "k:9092")
        said |= {
            Acl(
                given.allow_principal.removeprefix("User:"),
                _OPERATIONS[given.operation],
                resource,
                name,
                given.resource_pattern_type == "prefixed",
            )
            for resource in _TYPES
            for name in getattr(given, resource.replace("-", "_"))
        }
    assert said == set(EVERY)
