"""Each process has its own principal and just its ACLs.

The broker's log has the authorizer's decisions: nothing is denied, and every ACL is needed.
"""

import argparse
import shlex
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from uuid import uuid4

import httpx
import pytest
from confluent_kafka import KafkaException

from connectors.imports.topics import ImportTopics
from connectors.kafka.cluster import Cluster
from connectors.kafka.topic_reader import NoSuchTopic, records
from connectors.providers.raw import import_headers
from connectors.providers.registry import PROVIDERS
from connectors.schema_registry import client, noted_ids
from connectors.triage import resolution
from connectors.triage.audit import Mark
from connectors.triage.filter import Filter
from connectors.triage.replay import replay, select
from schemas.codec import LOOKUP_REQUEST, NOTICE, ORDER_EVENT
from schemas.records import LookupRequest, OrderEvent
from schemas.times import DAY
from schemas.topics import SHARED, all_topics, message_key
from streams import wiring
from streams.admin import topics
from streams.admin.acls import Acl, Operation, acls, commands
from streams.domain.reconcile import Period
from streams.reconcile import Job, file_payload, run
from streams.settings import load
from tests.security.installation import (
    ACLS,
    BOARDS,
    EDGES,
    PARTITIONS,
    PREFIX,
    PROCESSES,
    TOKEN,
    TYPES,
    Installation,
)
from tests.security.secured import Secured, environment
from tests.support.codecs import CODECS
from tests.support.reading import write_all
from tests.support.registry import FakeRegistry
from tests.support.waiting import until_sync

ALL_TOPICS = all_topics(PROVIDERS)

REGISTRY_ACLS = set(acls(load().existing_providers(), PREFIX, registry=True)) - set(ACLS)
# The topics whose readers dead-letter a broken record.
BREAKABLE = (
    *(f"callbacks.{name}" for name in PROVIDERS),
    *("links", "order-updates", "payment-events", "link-facts", "order-events"),
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
DENIED = {(acl.process, "Denied") for acl in ACLS}


@pytest.fixture(scope="module")
def installation(
    secured: Secured, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    installation = Installation(secured, tmp_path_factory.mktemp("installation"))
    try:
        yield installation.start()
    finally:
        installation.stop()


def use_every_right(installation: Installation) -> None:
    """Make the processes use their rights."""
    for provider, name in (
        ("ping", "completed"),
        ("peach", "completed"),
        ("peach", "checkout"),
        ("truelayer", "payment_settled"),
        ("truelayer", "payment_created"),
        ("truelayer", "refund_executed"),
        ("ipint", "completed"),
    ):
        assert [installation.send(provider, name, edge) for edge in EDGES] == [200, 200]
    for edge in map(installation.url, EDGES):
        link = {"provider": "peach", "link_id": "R1", "order_id": "O1"}
        httpx.post(f"{edge}/links", json=link).raise_for_status()
        assert httpx.post(f"{edge}/callbacks/other", content=b"1").status_code == 404
    exploded = b'{"invoice_id":"U1","status":"EXPLODED"}'
    httpx.post(f"{installation.url('receive')}/callbacks/ipint", content=exploded)
    # Each process reads a broken record, and each provider gets a lookup.
    for topic in BREAKABLE:
        write_all(installation.operator, topic, [(b"ping:B1", b"\x00broken")])
    for provider in PROVIDERS:
        key = message_key(provider, "unknown")
        write_all(installation.operator, "lookups", [(key, lookup(provider))])


def replay_from_boards_and_commands(installation: Installation) -> None:
    """Replay from each board and as the command does: the broken records come back each time."""
    # `notify` reads two of these topics, too.
    path, broken = "/dead-letters?limit=100", len(BREAKABLE) + 1 + 2
    headers = {"authorization": f"Bearer {TOKEN}", "accept": "application/json"}
    for times, board in enumerate(BOARDS, 1):
        so_far = times * broken
        installation.see(path, lambda page: len(page["dead_letters"]) == so_far, board)  # noqa: B023
        url = f"{installation.url(board)}/dead-letters/replay"
        response = httpx.post(url, json={}, headers=headers, timeout=30).raise_for_status()
        # On a busy machine the replay goes on; the next `see` waits for the records.
        assert response.status_code == 202 or response.json()["chosen"] == broken, response.text
    installation.see(path, lambda page: len(page["dead_letters"]) == 3 * broken)
    cluster = installation.cluster("replay")
    dead_letters = select(cluster, CODECS, Filter(), again=False)
    assert replay(cluster, CODECS, dead_letters, "ada", per_second=1000).total() == broken
    resolution.mark_all(cluster, CODECS, dead_letters, Mark(True, "ada", time.time_ns() // 1000))
    assert len(resolution.read(cluster, CODECS).marks) == broken


def open_every_link(installation: Installation) -> None:
    """Open the page of each link: it reads the raw record behind each event."""
    for board in map(installation.url, BOARDS):
        for row in httpx.get(f"{board}/links?limit=100").json()["links"]:
            page = f"{board}/links/{row['provider']}/{row['link_id']}"
            httpx.get(page, headers={"accept": "text/html"}, timeout=30).raise_for_status()


def cancel_a_link(installation: Installation, board: str) -> None:
    """Cancel a link at Ping; the audit trail keeps who did it."""
    control = f"http://127.0.0.1:{installation.ports['sandbox']}/control/links"
    created = httpx.post(control, json={"provider": "ping"}).raise_for_status()
    path = f"/links/ping/{created.json()['link_id']}"
    # Its first callback is a claim: the link is UNKNOWN until Ping's API has confirmed it.
    installation.see(path, lambda row: row.get("status") == "CREATED", board)
    headers = {"authorization": f"Bearer {TOKEN}"}
    response = httpx.post(f"{installation.url(board)}{path}/cancel", headers=headers, timeout=30)
    assert response.status_code == 200, response.text
    assert response.json()["recorded"] is True
    installation.see(path, lambda row: row["status"] == "CANCELLED", board)


def reconcile_a_payout(installation: Installation) -> None:
    """Reconcile the closed order of the example, which a file pays out whole."""
    invoice = "voZ3pYmiE16FLaSfFmytouwFfcjR4Zom8"
    installation.see(f"/orders/ipint/{invoice}", lambda order: bool(order["close"]))
    today = time.time_ns() // 1000 // DAY * DAY
    provider = load().existing_providers()["ipint"]
    job = Job("ipint", provider, Period(today, today + DAY))
    file = file_payload(job, f"link_id,gross,currency\n{invoice},4999.65,INR\n".encode())
    outcome = run(job, installation.cluster("reconcile"), CODECS, file, lambda _: [])
    assert [row.subject for row in outcome.result.rows if row.outcome == "MATCHED"] == [invoice]


def import_a_link(installation: Installation) -> None:
    """Publish an answer and note its window, as an import does for each provider."""
    for provider in PROVIDERS:
        topics = ImportTopics(installation.cluster("import"), CODECS, provider)
        with closing(topics.known_links()) as known:
            assert known.status("imported") is None
        assert topics.covered() == {}
        headers = import_headers(provider, "imported", 404, closed_elsewhere=False)
        topics.publish([(message_key(provider, "imported"), b"", headers)])
        topics.note(
            {
                "provider": provider,
                "window": "2025-11-01",
                "after": None,
                "links": 1,
                "unanswered": 0,
                "complete": True,
                "closed_elsewhere": False,
                "at": time.time_ns() // 1000,
            }
        )
        assert topics.covered()["2025-11-01"]["complete"]


def correct_a_close(installation: Installation) -> None:
    """State another amount for the closed order of the example."""
    invoice, at = "voZ3pYmiE16FLaSfFmytouwFfcjR4Zom8", time.time_ns() // 1000
    installation.see(f"/orders/ipint/{invoice}", lambda order: bool(order["close"]))
    event: OrderEvent = {
        "provider": "ipint",
        "order_id": invoice,
        "link": {
            "link_id": invoice,
            "status": "PAID",
            "payment_id": None,
            "amount_minor": 1,
            "currency": "INR",
            "paid_at": at,
            "settled": False,
            "awaits_details": False,
            "links_in_order": None,
            "closed_elsewhere": False,
        },
        "left_link_id": None,
        "left_for": None,
        "update": None,
        "at": at,
    }
    record = (message_key("ipint", invoice), CODECS.encode(ORDER_EVENT, event))
    write_all(installation.operator, "order-events", [record])
    installation.see(f"/orders/ipint/{invoice}", lambda order: bool(order["corrections"]))


def lookup(provider: str) -> bytes:
    record: LookupRequest = {
        "request_id": str(uuid4()),
        "provider": provider,
        "link_id": "unknown",
        "reason": "CLAIM",
        "claimed_status": None,
        "payment_id": None,
        "refund": None,
        "issued": True,
        "requested_at": time.time_ns() // 1000,
    }
    return CODECS.encode(LOOKUP_REQUEST, record)


def is_needed(acl: Acl, allowed: set[tuple[str, str, str, str]]) -> bool:
    resource = acl.resource.title().replace("-", "")
    return any(
        (who, operation, kind) == (acl.process, acl.operation, resource)
        and (name.startswith(acl.name) if acl.prefixed else name == acl.name)
        for who, operation, kind, name in allowed
    )


def unneeded(acls: Iterable[Acl], installation: Installation) -> list[Acl]:
    allowed = {(w, o, k, n) for w, d, o, k, n in installation.decisions() if d == "Allowed"}
    return [acl for acl in acls if not is_needed(acl, allowed)]


@pytest.mark.long
@pytest.mark.kafka
@pytest.mark.slow
def test_each_process_works_with_just_its_acls(installation: Installation) -> None:
    use_every_right(installation)
    installation.see("/links?status=PAID", lambda page: len(page["links"]) == 4)
    replay_from_boards_and_commands(installation)
    open_every_link(installation)
    for board in BOARDS:
        cancel_a_link(installation, board)
    assert topics.check(installation.cluster("care"), ALL_TOPICS, PARTITIONS, 1) == []
    for topic in ALL_TOPICS:
        list(records(installation.cluster("tail"), topic.name, True, True))
    reconcile_a_payout(installation)
    import_a_link(installation)
    correct_a_close(installation)
    for name in ("import", "reconcile", "tail"):
        assert noted_ids.noted_schemas(installation.cluster(name))
    until_sync(lambda: not unneeded(ACLS, installation), "the use of every right")
    assert [one for one in installation.decisions() if one[:2] in DENIED] == []


@pytest.mark.long
@pytest.mark.kafka
@pytest.mark.slow
def test_process_without_an_acl_is_denied_and_continues_once_it_has_it(
    installation: Installation,
) -> None:
    """No callback is lost meanwhile, and the edge acknowledges only what it published."""
    missing = [
        Acl("receive", "WRITE", "topic", PREFIX + "callbacks.peach"),
        Acl("work", "WRITE", "topic", PREFIX + "link-status"),
        Acl("work", "WRITE", "transactional-id", PREFIX + "linkstatus.work.", prefixed=True),
        Acl("lookup", "READ", "topic", PREFIX + "lookups"),
        Acl("settle", "READ", "group", PREFIX + "settle"),
        Acl("notify", "READ", "topic", PREFIX + "refunds"),
        Acl("board", "READ", "topic", PREFIX + "link-events"),
        Acl("web", "READ", "topic", PREFIX + "link-status"),
        Acl("care", "DESCRIBE_CONFIGS", "topic", PREFIX + "links"),
        Acl("tail", "READ", "topic", PREFIX + "links"),
    ]
    assert set(missing) <= set(ACLS)
    installation.forbid(missing)
    assert installation.send("peach", "expired") == 503
    body = b'{"invoice_id":"later","status":"COMPLETED"}'
    httpx.post(f"{installation.url('receive')}/callbacks/ipint", content=body).raise_for_status()
    with pytest.raises(KafkaException, match="authorization failed"):
        topics.check(installation.cluster("care"), ALL_TOPICS, PARTITIONS, 1)
    with pytest.raises(NoSuchTopic, match="access rights hide it"):
        list(records(installation.cluster("tail"), "links", True, True))

    def denied() -> set[str]:
        return {one[0] for one in installation.decisions() if one[:2] in DENIED}

    until_sync(lambda: set(PROCESSES) <= denied(), "each process to be denied")
    installation.allow(missing)
    installation.see(
        "/links?limit=100", lambda page: "later" in {row["link_id"] for row in page["links"]}
    )
    until_sync(lambda: installation.send("peach", "expired") == 200, "the edge to accept callbacks")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """A registry with its own ids."""
    with FakeRegistry() as registry:
        yield registry


@pytest.mark.long
@pytest.mark.kafka
@pytest.mark.slow
def test_each_process_publishes_registry_ids_with_just_its_acls(
    installation: Installation, registry: FakeRegistry
) -> None:
    # `receive` does not read `schemas` otherwise; `settle` only reads it.
    for name in ("receive", "settle"):
        with pytest.raises((noted_ids.CannotNote, KafkaException), match=r"(?i)authorization"):
            prepare(installation.cluster(name), registry)
    installation.allow(REGISTRY_ACLS)
    before = len(installation.decisions())
    for name in (*PROCESSES, "import", "reconcile"):
        prepare(installation.cluster(name), registry)
    # A reader publishes the id of a schema that another program registered.
    codecs = noted_ids.reader(installation.cluster("tail"), registry.url)
    registry.schemas.append(NOTICE.text)
    assert codecs.schema_of(len(registry.schemas))
    until_sync(lambda: not unneeded(REGISTRY_ACLS, installation), "the use of every right")
    assert [one for one in installation.decisions()[before:] if one[:2] in DENIED] == []


def prepare(cluster: Cluster, registry: FakeRegistry) -> None:
    """Do what each process does at its start, with ids that are new to the cluster."""
    registry.schemas, registry.subjects = ["{}"] * (1 + len(registry.schemas)), {}
    client.register(registry.url, SHARED, PREFIX)
    prefix = "LINKSTATUS_SECURITY__"
    security = {
        name.removeprefix(prefix).lower(): value
        for name, value in environment(cluster).items()
        if name.startswith(prefix)
    }
    wiring.codecs(
        load(
            brokers=cluster.brokers,
            topic_prefix=PREFIX,
            security=security,
            schema_registry_url=registry.url,
        )
    )


def test_printed_commands_set_the_same_acls() -> None:
    """Parse the output of `linkstatus topics acls` as Kafka's tool does."""
    parser = argparse.ArgumentParser()
    for name in ("--bootstrap-server", "--command-config", "--allow-principal", "--operation"):
        parser.add_argument(name, required=True)
    parser.add_argument("--add", action="store_true", required=True)
    parser.add_argument("--resource-pattern-type", default="literal")
    for resource in TYPES:
        parser.add_argument(f"--{resource}", action="append", default=[])
    parsed = set()
    for line in commands(ACLS, "k:9092", "User:{process}"):
        program, *arguments = shlex.split(line)
        options = parser.parse_args(arguments)
        assert (program, options.bootstrap_server) == ("kafka-acls.sh", "k:9092")
        parsed |= {
            Acl(
                options.allow_principal.removeprefix("User:"),
                _OPERATIONS[options.operation],
                resource,
                name,
                options.resource_pattern_type == "prefixed",
            )
            for resource in TYPES
            for name in getattr(options, resource.replace("-", "_"))
        }
    assert parsed == set(ACLS)
