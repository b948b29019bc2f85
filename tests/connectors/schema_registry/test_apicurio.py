"""With a real Schema Registry: it chooses the ids, and records stay readable without it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.kafka.cluster import Cluster
from connectors.schema_registry import client
from schemas import codec
from schemas.codec import LINK_EVENT, LINK_REGISTERED, NOTICE, ORDER_UPDATE, Codecs
from schemas.topics import LINK_EVENTS, LINK_STATUS, LINKS, ORDER_UPDATES, SHARED
from streams import consume, wiring
from streams.settings import load
from tests.e2e.system import System
from tests.support.apicurio import Apicurio
from tests.support.avro import add_field, field, sample
from tests.support.confluent import deserialized, serialized
from tests.support.reading import read_all, write_all
from tests.support.shell import Shell

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    registry = Apicurio(tmp_path_factory.mktemp("apicurio"))
    yield registry.url
    registry.stop()


def writer(kafka: Cluster, url: str | None) -> Codecs:
    """Return the codecs of a process that starts with this registry."""
    where = {"brokers": kafka.brokers, "topic_prefix": kafka.prefix}
    return wiring.codecs(load(schema_registry_url=url, **where))


def id_of(data: bytes | None) -> int:
    return int.from_bytes((data or b"")[1:5], "big")


def test_registry_chooses_the_ids_and_keeps_them(kafka: Cluster, url: str) -> None:
    ids = client.register(url, SHARED, kafka.prefix)
    assert client.register(url, SHARED, kafka.prefix) == ids
    by_name = client.ids(url, SHARED, kafka.prefix)
    subjects = client.subjects(SHARED, kafka.prefix)
    assert by_name == {schema.name: ids[subject] for subject, schema in subjects.items()}
    assert set(ids.values()).isdisjoint(schema.fingerprint for schema in codec.ALL)
    text = httpx.get(f"{url}/schemas/ids/{by_name['notice']}").json()["schema"]
    assert json.loads(text) == NOTICE.json


def test_registry_refuses_a_breaking_schema(kafka: Cluster, url: str) -> None:
    client.register(url, SHARED, kafka.prefix)
    schema = json.loads(NOTICE.text)
    add_field("channel")(schema)
    subject = f"{kafka.prefix}notices-value"
    answer = httpx.post(f"{url}/subjects/{subject}/versions", json={"schema": json.dumps(schema)})
    assert answer.status_code == 409, answer.text


def test_commands_register_write_and_read_with_its_ids(
    linkstatus: Shell, kafka: Cluster, url: str, tmp_path: Path
) -> None:
    linkstatus.set(SCHEMA_REGISTRY_URL=url)
    (tmp_path / "links.csv").write_text("provider,link_id\nping,L1\n")
    early = linkstatus.run("links", "add", str(tmp_path / "links.csv"))
    assert "linkstatus schemas register" in early.err
    assert "linkstatus schemas register" in linkstatus.run("doctor").out
    printed = [line.split() for line in linkstatus.ok("schemas", "register").splitlines()]
    linkstatus.ok("links", "add", str(tmp_path / "links.csv"))
    every = f"all {len(codec.ALL)} schemas"
    assert re.search(rf"ok +registry +{every}", linkstatus.run("doctor").out)
    (link,) = read_all(kafka, LINKS.name)
    assert [str(id_of(link.value())), f"{kafka.prefix}links-value"] in printed
    linkstatus.unset("SCHEMA_REGISTRY_URL")
    record = linkstatus.json("tail", "links", "--from-beginning", "--exit-at-end")
    assert record["value"]["link_id"] == "L1"


def test_records_with_registered_and_derived_ids_are_readable_in_both_modes(
    kafka: Cluster, url: str
) -> None:
    record = sample(LINK_REGISTERED.json)
    ids = client.register(url, SHARED, kafka.prefix)
    registered = writer(kafka, url).encode(LINK_REGISTERED, record)
    assert id_of(registered) == ids[f"{kafka.prefix}links-value"]
    derived = writer(kafka, None).encode(LINK_REGISTERED, record)
    assert id_of(derived) == LINK_REGISTERED.fingerprint
    for mode in (url, None):
        codecs = writer(kafka, mode)
        for data in (registered, derived):
            assert codecs.decode(LINK_REGISTERED, data) == record


def test_record_of_another_program_is_readable_without_the_registry(
    kafka: Cluster, url: str
) -> None:
    client.register(url, SHARED, kafka.prefix)
    schema = json.loads(ORDER_UPDATE.text)
    add_field("clerk", default="unknown")(schema)
    field(schema, "reason").pop("doc")
    update = sample(ORDER_UPDATE.json)
    topic = kafka.topic(ORDER_UPDATES.name)
    value = serialized(url, topic, json.dumps(schema), {**update, "clerk": "Ann"})
    write_all(kafka, ORDER_UPDATES.name, [(b"ping:O1", value)])
    assert writer(kafka, url).decode(ORDER_UPDATE, value) == update
    # This consumer has only the cluster, where the writer has noted the id.
    with consume(ORDER_UPDATES, group="g", cluster=kafka, until_end=True) as records:
        assert [record.value for record in records] == [update]


def register_link(system: System, **fields: Any) -> None:
    body = {"provider": "peach", "link_id": "l", "order_id": "O1", **fields}
    assert httpx.post(f"{system.url}/links", json=body).status_code == 202


@pytest.mark.long
def test_system_continues_after_its_registry_is_given_up(
    url: str, brokers: str, tmp_path: Path
) -> None:
    here = {"LINKSTATUS_BROKERS": brokers, "LINKSTATUS_PARTITIONS": "2"}
    with_registry = System(tmp_path, LINKSTATUS_SCHEMA_REGISTRY_URL=url, **here).start()
    try:
        register_link(with_registry)
        with_registry.wait_for("/links/peach/l", lambda row: row["order_id"] == "O1")
        cluster = Cluster(with_registry.environment["LINKSTATUS_BROKERS"], with_registry.prefix)
        (row,) = read_all(cluster, LINK_STATUS.name)
        # The board resolves the registry's ids too, but it has no subjects beside a registry.
        for registry in (url, f"{with_registry.url}/registry"):
            assert deserialized(registry, [row])[0]["link_id"] == "l"
        assert httpx.get(f"{with_registry.url}/registry/subjects").status_code == 404
    finally:
        with_registry.stop()

    without = System(tmp_path, LINKSTATUS_TOPIC_PREFIX=with_registry.prefix, **here).start()
    try:
        register_link(without, links_in_order=2)
        without.wait_for("/links/peach/l", lambda r: r["registration"]["links_in_order"] == 2)
        cluster = Cluster(without.environment["LINKSTATUS_BROKERS"], with_registry.prefix)
        rows = [one for one in read_all(cluster, LINK_STATUS.name) if one.key() == row.key()]
        assert id_of(rows[-1].value()) == codec.LINK_STATUS.fingerprint != id_of(row.value())
        events = read_all(cluster, LINK_EVENTS.name)
        ids = {id_of(event.value()) for event in events}
        assert ids > {LINK_EVENT.fingerprint}, [event.offset() for event in events]
        # The board resolves derived ids and those of the former registry.
        records = deserialized(f"{without.url}/registry", events)
        assert {record["link_id"] for record in records} == {"l"}
        dead = without.run("dead-letters", "list", "--show", "all")
        assert not dead.strip(), dead
    finally:
        without.stop()
