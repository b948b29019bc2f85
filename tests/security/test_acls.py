"""Each process as a principal of its own, on a broker that allows it what the list says.

The broker's own log tells what its authorizer was asked: nothing is denied, every entry is needed.
"""

import argparse
import shlex
import time
from collections.abc import Iterable, Iterator
from uuid import uuid4

import httpx
import pytest
from confluent_kafka import KafkaException
from httpx import MockTransport

from connectors.kafka import Cluster
from connectors.letters import dealt
from connectors.letters.letter import Wanted
from connectors.letters.replay import chosen, replay
from connectors.noting import Mark
from connectors.registry import PROVIDERS
from schemas import codec
from schemas.codec import LOOKUP_REQUEST
from schemas.topics import SHARED, message_key
from streams import admin, schema_ids, wiring
from streams.acls import Acl, Operation, acls, commands
from streams.schema_registry import Registry
from streams.settings import load
from streams.tail import NoSuchTopic, records
from tests.reading import write_all
from tests.security.installation import (
    BOARDS,
    EDGES,
    EVERY,
    PREFIX,
    PROCESSES,
    TOKEN,
    TYPES,
    Installation,
)
from tests.security.secured import Secured, environment
from tests.streams.test_schema_registry import Known
from tests.waiting import until_sync

WITH_A_REGISTRY = set(acls(load().providers(), PREFIX, registry=True)) - set(EVERY)
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
        assert [installation.send(provider, name, edge) for edge in EDGES] == [200, 200]
    for edge in map(installation.url, EDGES):
        httpx.post(f"{edge}/links", json={"provider": "peach", "link_id": "R1"}).raise_for_status()
    exploded = b'{"invoice_id":"U1","status":"EXPLODED"}'
    httpx.post(f"{installation.url('receive')}/callbacks/ipint", content=exploded)
    # Each process meets a record that it cannot read, and each provider is asked about a link.
    for topic in BREAKABLE:
        write_all(installation.operator, topic, [(b"ping:B1", b"\x00broken")])
    for provider in PROVIDERS:
        key = message_key(provider, "asked")
        write_all(installation.operator, "lookups", [(key, question(provider))])


def replay_everything(installation: Installation) -> None:
    """From each page, and from the command line: what is broken comes back each time."""
    letters, broken = "/dead-letters?limit=100", len(BREAKABLE) + 1
    acting = {"authorization": f"Bearer {TOKEN}", "accept": "application/json"}
    for times, board in enumerate(BOARDS, 1):
        so_far = times * broken
        installation.see(letters, lambda page: len(page["dead_letters"]) == so_far, board)  # noqa: B023
        url = f"{installation.url(board)}/dead-letters/replay"
        told = httpx.post(url, data={"stage": ""}, headers=acting, timeout=30).raise_for_status()
        # Not over yet on a busy machine: what comes back is waited for below.
        assert told.status_code == 202 or told.json()["chosen"] == broken, told.text
    installation.see(letters, lambda page: len(page["dead_letters"]) == 3 * broken)
    cluster = installation.cluster("replay")
    unreplayed = chosen(cluster, Wanted(), again=False)
    assert replay(cluster, unreplayed, "somebody", per_second=1000).total() == broken
    dealt.say(cluster, unreplayed, Mark(True, "somebody", time.time_ns() // 1000))
    assert len(dealt.read(cluster).aside) == broken


def look_behind_everything(installation: Installation) -> None:
    """A link's page shows the raw record behind each of its events."""
    for board in map(installation.url, BOARDS):
        look_behind(board)


def look_behind(board: str) -> None:
    for row in httpx.get(f"{board}/links?limit=100").json()["links"]:
        page = f"{board}/links/{row['provider']}/{row['link_id']}"
        httpx.get(page, headers={"accept": "text/html"}, timeout=30).raise_for_status()


def cancel_a_link(installation: Installation, board: str) -> None:
    """From the page, at Ping; who asked is noted."""
    control = f"http://127.0.0.1:{installation.ports['sandbox']}/control/links"
    created = httpx.post(control, json={"provider": "ping"}).raise_for_status()
    path = f"/links/ping/{created.json()['link_id']}"
    until_sync(lambda: httpx.get(installation.url(board) + path).status_code == 200, path)
    acting = {"authorization": f"Bearer {TOKEN}"}
    told = httpx.post(f"{installation.url(board)}{path}/cancel", headers=acting, timeout=30)
    assert (told.status_code, told.json()["noted"]) == (200, True), told.text
    installation.see(path, lambda row: row["status"] == "CANCELLED", board)


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


def unneeded(some: Iterable[Acl], installation: Installation) -> list[Acl]:
    allowed = {(w, o, k, n) for w, d, o, k, n in installation.asked() if d == "Allowed"}
    return [acl for acl in some if not is_needed(acl, allowed)]


@pytest.mark.kafka
@pytest.mark.slow
def test_each_process_does_its_work_with_just_its_acls(installation: Installation) -> None:
    let_everything_flow(installation)
    installation.see("/links?status=PAID", lambda page: len(page["links"]) == 4)
    replay_everything(installation)
    look_behind_everything(installation)
    for board in BOARDS:
        cancel_a_link(installation, board)
    assert admin.check(installation.cluster("care"), wiring.topics(), 1, 1) == []
    for topic in wiring.topics():
        list(records(installation.cluster("tail"), topic.name, True, True))
    assert schema_ids.notes(installation.cluster("tail"))
    until_sync(lambda: not unneeded(EVERY, installation), "every right to be used")
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
        Acl("web", "READ", "topic", PREFIX + "link-status"),
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
    with pytest.raises(NoSuchTopic, match="no right to see it"):
        list(records(installation.cluster("tail"), "links", True, True))

    def processes_denied() -> set[str]:
        return {asked[0] for asked in installation.asked() if asked[:2] in DENIED}

    until_sync(lambda: set(PROCESSES) <= processes_denied(), "each process to be denied")
    installation.allow(taken)
    installation.see(
        "/links?limit=100", lambda page: "later" in {row["link_id"] for row in page["links"]}
    )
    until_sync(lambda: installation.send("peach", "expired") == 200, "the edge to take callbacks")


@pytest.fixture
def numbering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Known]:
    """A registry with ids of its own."""
    known = Known()
    monkeypatch.setattr(schema_ids, "Registry", lambda url: Registry(url, MockTransport(known)))
    yield known
    codec.ask(None)
    codec.write_ids({})


@pytest.mark.kafka
@pytest.mark.slow
def test_with_a_registry_each_process_notes_its_ids_with_just_its_acls(
    installation: Installation, numbering: Known
) -> None:
    # One that has no other reason to see the notes, and one that else only reads them.
    for name in ("receive", "settle"):
        with pytest.raises((schema_ids.CannotNote, KafkaException), match=r"(?i)authorization"):
            prepare(installation.cluster(name), numbering)
    installation.allow(WITH_A_REGISTRY)
    before = len(installation.asked())
    for name in PROCESSES:
        prepare(installation.cluster(name), numbering)
    # Who only reads notes what somebody else has registered.
    schema_ids.read(installation.cluster("tail"), "http://registry")
    numbering.schemas.append(codec.NOTICE.text)
    assert codec.schema_of(len(numbering.schemas))
    until_sync(lambda: not unneeded(WITH_A_REGISTRY, installation), "every right to be used")
    assert [asked for asked in installation.asked()[before:] if asked[:2] in DENIED] == []


def prepare(cluster: Cluster, known: Known) -> None:
    """As each process does at its start; its ids are new to the cluster."""
    known.schemas, known.subjects = ["{}"] * (1 + len(known.schemas)), {}
    with Registry("http://registry", MockTransport(known)) as registry:
        registry.register(SHARED, PREFIX)
    there = {name.removeprefix("LINKSTATUS_"): said for name, said in environment(cluster).items()}
    security = {
        name.removeprefix("SECURITY__").lower(): said
        for name, said in there.items()
        if name.startswith("SECURITY__")
    }
    schema_ids.prepare(
        load(
            brokers=cluster.brokers,
            topic_prefix=PREFIX,
            security=security,
            schema_registry_url="http://registry",
        )
    )


def test_the_printed_commands_say_the_same() -> None:
    """What `linkstatus topics acls` prints, read as Kafka's tool does."""
    parser = argparse.ArgumentParser()
    for name in ("--bootstrap-server", "--command-config", "--allow-principal", "--operation"):
        parser.add_argument(name, required=True)
    parser.add_argument("--add", action="store_true", required=True)
    parser.add_argument("--resource-pattern-type", default="literal")
    for resource in TYPES:
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
            for resource in TYPES
            for name in getattr(given, resource.replace("-", "_"))
        }
    assert said == set(EVERY)
