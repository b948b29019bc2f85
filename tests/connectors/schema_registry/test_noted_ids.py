"""Schema ids are noted on the cluster, and every reader finds them there."""

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import httpx
import pytest
from confluent_kafka import Consumer, KafkaError

from connectors.http.api import create_api
from connectors.kafka import topic_reader
from connectors.kafka.clients import Clients
from connectors.kafka.cluster import Cluster
from connectors.schema_registry import client, endpoints, noted_ids
from schemas import codec
from schemas.codec import ANOMALY, NOTICE, BadRecord, Codecs, SchemaAway
from schemas.topics import LINK_FACTS, SHARED
from streams import wiring
from streams.agents.stages import stage_spec
from streams.agents.track import Track
from streams.domain.polling import Intervals
from streams.engine.app import StageApp
from streams.engine.batch import Batch
from streams.engine.stage import Stage
from streams.environment import BadSettings
from streams.rebuild.in_memory import Record
from streams.settings import load
from tests.support.avro import framed, sample
from tests.support.codecs import CODECS
from tests.support.reading import read_all, write_all
from tests.support.registry import FakeRegistry
from tests.support.shell import Shell
from tests.support.waiting import until_sync

pytestmark = pytest.mark.kafka

OWN = {schema.fingerprint: schema.text for schema in codec.ALL}
RECORD = sample(ANOMALY.json)


def with_id(number: int) -> bytes:
    """Return RECORD as a process writes it whose registry gave ANOMALY this id."""
    return framed(number, CODECS.encode(ANOMALY, RECORD)[5:])


def test_b5_hundreds_of_unknown_ids_read_the_topic_once(
    kafka: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted_ids.note(kafka, {41: ANOMALY.text})
    read, reads = noted_ids.noted_schemas, []

    def noted_schemas(cluster: Cluster) -> dict[int, str] | None:
        reads.append(cluster)
        return read(cluster)

    monkeypatch.setattr(noted_ids, "noted_schemas", noted_schemas)
    codecs = noted_ids.reader(kafka)
    for number in range(1000, 1300):
        with pytest.raises(BadRecord, match=f"schema id {number}"):
            codecs.decode(ANOMALY, with_id(number))
    assert len(reads) == 1
    monkeypatch.undo()
    noted_ids.note(kafka, {42: ANOMALY.text})
    assert codecs.decode(ANOMALY, with_id(42)) == RECORD


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"9" * 5000, b"{}"),
        (b"-1", b"{}"),
        (b"\xff", b"\xff"),
        (b"41", b"[" * 100_000),
        (b"41", b"\xff\xfe"),
        (b"41", None),
        (str(ANOMALY.fingerprint).encode(), b"junk"),
    ],
)
def test_odd_record_of_the_topic_is_no_schema(
    kafka: Cluster, key: bytes, value: bytes | None
) -> None:
    write_all(kafka, "schemas", [(key, value)])
    noted_ids.note_own(kafka)
    assert (noted_ids.noted_schemas(kafka) or {}).items() >= OWN.items()
    with pytest.raises(BadRecord, match="schema id 41"):
        noted_ids.reader(kafka).decode(ANOMALY, with_id(41))


def test_ids_are_noted_once(kafka: Cluster) -> None:
    noted_ids.note_own(kafka)
    assert noted_ids.noted_schemas(kafka) == OWN
    noted_ids.note_own(kafka)
    assert len(read_all(kafka, "schemas")) == len(OWN)


def test_topics_create_notes_the_schemas(bare_linkstatus: Shell, bare_kafka: Cluster) -> None:
    bare_linkstatus.ok("topics", "create")
    assert noted_ids.noted_schemas(bare_kafka) == OWN


def test_id_cannot_change_its_schema(kafka: Cluster) -> None:
    noted_ids.note(kafka, {41: ANOMALY.text})
    with pytest.raises(noted_ids.CannotNote, match="id 41 for another schema"):
        noted_ids.note(kafka, {41: NOTICE.text})
    assert noted_ids.noted_schemas(kafka) == {41: ANOMALY.text}


def test_missing_topic_names_the_command(bare_kafka: Cluster) -> None:
    with pytest.raises(noted_ids.CannotNote, match="linkstatus topics create"):
        noted_ids.note_own(bare_kafka)
    with pytest.raises(BadRecord, match="schema id 41"):
        noted_ids.reader(bare_kafka).decode(ANOMALY, with_id(41))


def test_reader_without_access_to_the_topic_calls_no_record_bad(kafka: Cluster) -> None:
    denied = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)

    class Metadata:
        topics: ClassVar = {kafka.topic("schemas"): SimpleNamespace(error=denied, partitions={})}

    class Denied(Consumer):
        def list_topics(self, *_: object, **__: object) -> Any:
            return Metadata

    cluster = replace(kafka, clients=Clients(consumer=Denied))
    with pytest.raises(SchemaAway, match="Topic authorization failed"):
        noted_ids.reader(cluster).decode(ANOMALY, with_id(41))


def test_reader_calls_no_record_bad_while_kafka_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noted_ids, "_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(topic_reader, "TIMEOUT", 0.2)
    with pytest.raises(SchemaAway, match="schema 41 cannot be looked up"):
        noted_ids.reader(Cluster("127.0.0.1:1")).decode(ANOMALY, with_id(41))


@pytest.fixture
def registry(kafka: Cluster) -> Iterator[FakeRegistry]:
    """A registry that has all schemas, and before them one of another program."""
    with FakeRegistry() as registry:
        registry.schemas.append("{}")
        client.register(registry.url, SHARED, kafka.prefix)
        yield registry


def writer(kafka: Cluster, registry: FakeRegistry) -> Codecs:
    """Return the codecs of a process that starts with this registry."""
    where = {"brokers": kafka.brokers, "topic_prefix": kafka.prefix}
    return wiring.codecs(load(schema_registry_url=registry.url, **where))


@pytest.mark.parametrize("status", [None, 503])
def test_process_starts_with_its_previous_ids_while_the_registry_is_away(
    kafka: Cluster, registry: FakeRegistry, status: int | None
) -> None:
    noted_ids.note_own(kafka)
    written = writer(kafka, registry).texts()
    assert written.keys().isdisjoint(OWN)
    if status:
        registry.answer = (status, "")
    else:
        registry.stop()
    assert writer(kafka, registry).texts() == written


async def test_board_serves_noted_ids_while_the_registry_is_away(
    kafka: Cluster, registry: FakeRegistry
) -> None:
    noted_ids.note_own(kafka)
    codecs = writer(kafka, registry)
    registry.stop()
    app = create_api(endpoints.ids(codecs))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://board") as board:
        for number in (codecs.write_id(ANOMALY), ANOMALY.fingerprint):
            answer = await board.get(f"/registry/schemas/ids/{number}")
            assert json.loads(answer.json()["schema"]) == ANOMALY.json
        assert (await board.get("/registry/schemas/ids/999")).status_code == 503


@pytest.mark.parametrize(
    "text", ['syntax = "proto3"; message M {}', '{"type": "object", "properties": {}}']
)
def test_schema_of_another_type_is_not_noted_and_stops_no_start(
    kafka: Cluster, registry: FakeRegistry, text: str
) -> None:
    codecs = writer(kafka, registry)
    registry.schemas.append(text)
    number = len(registry.schemas)
    assert codecs.schema_of(number) is None
    assert number not in (noted_ids.noted_schemas(kafka) or {})
    # An earlier release noted such schemas.
    write_all(kafka, "schemas", [(str(number).encode(), text.encode())])
    registry.stop()
    writer(kafka, registry)


def test_edge_starts_while_a_new_registry_is_away(
    kafka: Cluster, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noted_ids, "backoff", lambda *_: 0.05)
    noted_ids.note_own(kafka)
    registry.answer = (503, "")
    codecs = noted_ids.edge_writer(kafka, registry.url)
    with pytest.raises(SchemaAway, match="has not given the ids"):
        codecs.encode(ANOMALY, RECORD)
    registry.answer = None

    def has_ids() -> bool:
        try:
            codecs.encode(ANOMALY, RECORD)
        except SchemaAway:
            return False
        return True

    until_sync(has_ids, "the ids of the registry")
    assert codecs.write_id(ANOMALY) != ANOMALY.fingerprint


@pytest.mark.parametrize(
    ("known", "status", "message"),
    [(False, 503, "the registry answered 503"), (True, 401, "401: who are you")],
    ids=["new registry is away", "known registry refuses"],
)
def test_process_does_not_start_without_an_answer_of_the_registry(
    kafka: Cluster, registry: FakeRegistry, known: bool, status: int, message: str
) -> None:
    noted_ids.note_own(kafka)
    noted_ids.note(kafka, {41: ANOMALY.text})
    if known:
        writer(kafka, registry)
    registry.answer = (status, '{"message": "who are you"}')
    with pytest.raises(BadSettings, match=f"SCHEMA_REGISTRY_URL: .*{message}"):
        writer(kafka, registry)


def away(_: int) -> str | None:
    raise SchemaAway(f"not now, in {threading.current_thread().name}")


async def test_worker_looks_ids_up_outside_the_event_loop(
    tmp_path: Path, bare_kafka: Cluster
) -> None:
    """The agents' event loop serves the probes too, so the stage's thread looks ids up before it
    hands a batch over.
    """
    app = StageApp("lookup", broker="kafka://nowhere", datadir=str(tmp_path))
    spec = stage_spec(Codecs(find=away), [])
    stage = Stage(app, spec, bare_kafka, "one")
    record = Record(bare_kafka.topic(LINK_FACTS.name), b"k", with_id(41), [], 0)
    session: Any = SimpleNamespace(consume=lambda seconds: [record], partition_count=1)
    with pytest.raises(SchemaAway) as raised:
        await asyncio.to_thread(stage._run_round, session)
    assert threading.main_thread().name not in str(raised.value)


def test_batch_with_a_failed_lookup_is_retried_and_not_dead_lettered() -> None:
    record: Any = Record(LINK_FACTS.name, b"k", with_id(41), [], 0)
    codecs = Codecs(find=away)
    batch = Batch(stage_spec(codecs, []), [record], {}, "", 1)
    with pytest.raises(SchemaAway):
        Track(codecs, {}, Intervals()).handle(batch)
    assert batch.outputs == []
