"""Schema ids are noted on the cluster, and found there by whoever meets one it does not know."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import httpx
import pytest
from confluent_kafka import Consumer, KafkaError
from starlette.applications import Starlette
from starlette.routing import Route

from connectors import ungrouped
from connectors.board import registry as board_registry
from connectors.kafka import Cluster
from schemas import codec
from schemas.codec import BadRecord, SchemaAway
from schemas.topics import ANOMALIES, SHARED
from streams import consume, schema_ids
from streams.engine.app import StageApp
from streams.engine.batch import Batch
from streams.engine.session import StageSpec
from streams.engine.stage import Stage
from streams.schema_registry import Registry
from streams.serial import Record
from streams.settings import BadSettings, Settings, load
from tests.reading import read_all, write_all
from tests.schemas.test_evolution import sample
from tests.streams.test_cli import Cli
from tests.streams.test_schema_registry import Known

pytestmark = pytest.mark.kafka

RECORD = sample(codec.ANOMALY.json, {})


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    codec.ask(None)
    codec.write_ids({})


def numbered(number: int) -> bytes:
    """The record as a process writes it that has this id from its registry."""
    return b"\0" + number.to_bytes(4, "big") + codec.ANOMALY.encode(RECORD)[5:]


def test_a_noted_id_is_found_and_an_unknown_one_is_junk(kafka: Cluster) -> None:
    schema_ids.note_own(kafka)
    schema_ids.note(kafka, {41: codec.ANOMALY.text})
    schema_ids.read(kafka)
    assert codec.ANOMALY.decode(numbered(41)) == RECORD
    with pytest.raises(BadRecord, match="schema id 42"):
        codec.ANOMALY.decode(numbered(42))


def test_what_is_noted_is_not_noted_again(kafka: Cluster) -> None:
    schema_ids.note_own(kafka)
    first = schema_ids.notes(kafka)
    assert first == {one.fingerprint: one.text for one in codec.ALL}
    schema_ids.note_own(kafka)
    assert len(read_all(kafka, "schemas")) == len(codec.ALL)


def test_making_the_topics_notes_the_schemas(bare_kafka: Cluster, tmp_path: Path) -> None:
    where = {"LINKSTATUS_BROKERS": bare_kafka.brokers, "LINKSTATUS_TOPIC_PREFIX": bare_kafka.prefix}
    few = {"LINKSTATUS_PARTITIONS": "1", "LINKSTATUS_DATA_DIR": str(tmp_path)}
    Cli({**where, **few}).ok("topics", "create")
    noted = schema_ids.notes(bare_kafka) or {}
    assert noted.keys() == {one.fingerprint for one in codec.ALL}


def test_an_id_cannot_stand_for_another_schema_than_before(kafka: Cluster) -> None:
    schema_ids.note(kafka, {41: codec.ANOMALY.text})
    with pytest.raises(schema_ids.CannotNote, match="id 41 for another schema"):
        schema_ids.note(kafka, {41: codec.NOTICE.text})
    assert schema_ids.notes(kafka) == {41: codec.ANOMALY.text}


def test_without_the_topic_the_cure_is_named(bare_kafka: Cluster) -> None:
    with pytest.raises(schema_ids.CannotNote, match="linkstatus topics create"):
        schema_ids.note_own(bare_kafka)
    schema_ids.read(bare_kafka)
    with pytest.raises(BadRecord, match="schema id 41"):
        codec.ANOMALY.decode(numbered(41))


def test_a_consumer_finds_them_too(kafka: Cluster) -> None:
    schema_ids.note(kafka, {41: codec.ANOMALY.text})
    write_all(kafka, ANOMALIES.name, [(b"k", numbered(41))])
    with consume(ANOMALIES, group="g", cluster=kafka, until_end=True) as records:
        assert [record.value for record in records] == [RECORD]


def test_a_reader_without_the_right_to_see_the_notes_calls_nothing_junk(
    kafka: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)

    class Metadata:
        topics: ClassVar = {kafka.topic("schemas"): SimpleNamespace(error=denied, partitions={})}

    class Denied(Consumer):
        def list_topics(self, *_: object, **__: object) -> Any:
            return Metadata

    monkeypatch.setattr(ungrouped, "Consumer", Denied)
    schema_ids.read(kafka)
    with pytest.raises(SchemaAway, match="TOPIC_AUTHORIZATION_FAILED"):
        codec.ANOMALY.decode(numbered(41))


@pytest.fixture
def registry(kafka: Cluster, monkeypatch: pytest.MonkeyPatch) -> Known:
    """A registry with all schemas in it, which may be told what to answer instead."""
    known = Known()

    def opened(url: str) -> Registry:
        return Registry(url, httpx.MockTransport(known))

    monkeypatch.setattr(schema_ids, "Registry", opened)
    # Its ids begin behind one of somebody else's.
    known.schemas.append("{}")
    with opened("http://registry") as one:
        one.register(SHARED, kafka.prefix)
    return known


def with_registry(kafka: Cluster) -> Settings:
    cluster = {"brokers": kafka.brokers, "topic_prefix": kafka.prefix}
    return load(_env_file=None, schema_registry_url="http://registry", **cluster)


@pytest.mark.parametrize("answer", [httpx.ConnectError("nobody"), httpx.Response(503)])
def test_while_the_registry_is_away_a_process_starts_with_the_ids_it_had(
    kafka: Cluster, registry: Known, answer: httpx.Response | Exception
) -> None:
    schema_ids.note_own(kafka)
    schema_ids.prepare(with_registry(kafka))
    given = {one.name: one.id for one in codec.ALL}
    assert given["anomaly"] != codec.ANOMALY.fingerprint
    codec.write_ids({})
    registry.instead = answer
    schema_ids.prepare(with_registry(kafka))
    assert {one.name: one.id for one in codec.ALL} == given


async def test_while_the_registry_is_away_the_board_tells_its_ids_and_those_of_before(
    kafka: Cluster, registry: Known
) -> None:
    schema_ids.note_own(kafka)
    schema_ids.prepare(with_registry(kafka))
    ids = [codec.ANOMALY.id, codec.ANOMALY.fingerprint]
    registry.instead = httpx.ConnectError("nobody")
    app = Starlette(routes=[Route(*one) for one in board_registry.ids().items()])
    asking = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=asking, base_url="http://board") as client:
        answers = [await client.get(f"/registry/schemas/ids/{number}") for number in (*ids, 999)]
    assert [answer.status_code for answer in answers] == [200, 200, 503]
    assert [json.loads(one.json()["schema"]) for one in answers[:2]] == 2 * [codec.ANOMALY.json]


@pytest.mark.parametrize(
    "text",
    ['syntax = "proto3"; message M {}', '{"type": "object", "properties": {}}'],
)
def test_what_is_registered_in_other_languages_is_not_noted_and_stops_no_start(
    kafka: Cluster, registry: Known, text: str
) -> None:
    schema_ids.prepare(with_registry(kafka))
    registry.schemas.append(text)
    assert codec.schema_of(len(registry.schemas)) is None
    assert len(registry.schemas) not in (schema_ids.notes(kafka) or {})
    # As releases before this one did.
    schema_ids._publish(kafka, {len(registry.schemas): text})
    registry.instead = httpx.ConnectError("nobody")
    schema_ids.prepare(with_registry(kafka))


def test_a_registry_that_was_never_asked_before_is_awaited(kafka: Cluster, registry: Known) -> None:
    schema_ids.note_own(kafka)
    schema_ids.note(kafka, {41: codec.ANOMALY.text})
    registry.instead = httpx.ConnectError("nobody")
    with pytest.raises(BadSettings, match="SCHEMA_REGISTRY_URL: the registry does not answer"):
        schema_ids.prepare(with_registry(kafka))


def test_what_the_registry_refuses_is_not_passed_over(kafka: Cluster, registry: Known) -> None:
    schema_ids.prepare(with_registry(kafka))
    registry.instead = httpx.Response(401, text="who are you")
    with pytest.raises(BadSettings, match="401: who are you"):
        schema_ids.prepare(with_registry(kafka))


def test_while_kafka_is_away_a_record_is_not_called_junk() -> None:
    nobody = Cluster("127.0.0.1:1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema_ids, "_SECONDS", 0.2)
        patch.setattr(ungrouped, "TIMEOUT", 0.2)
        schema_ids.read(nobody)
        with pytest.raises(SchemaAway, match="schema 41 cannot be looked up"):
            codec.ANOMALY.decode(numbered(41))


async def test_who_is_asked_by_the_worker_keeps_no_probe_waiting(
    tmp_path: Path, bare_kafka: Cluster
) -> None:
    """The agents' loop serves the probes, too: the stage's thread asks before it hands a batch
    over.
    """
    asked_in: list[threading.Thread] = []

    def away(_: int) -> str | None:
        asked_in.append(threading.current_thread())
        raise SchemaAway("not now")

    codec.ask(away)
    app = StageApp("asking", broker="kafka://nowhere", datadir=str(tmp_path))
    stage = Stage(app, StageSpec("track", (ANOMALIES.name,)), bare_kafka, "one")
    record = Record(bare_kafka.topic(ANOMALIES.name), b"k", numbered(41), [], 0)
    session: Any = SimpleNamespace(take=lambda wait: [record])
    with pytest.raises(SchemaAway):
        await asyncio.to_thread(stage._round, session)
    assert threading.main_thread() not in asked_in


def test_a_batch_is_tried_again_and_not_dead_lettered_meanwhile() -> None:
    def away(_: int) -> str | None:
        raise SchemaAway("not now")

    codec.ask(away)
    record: Any = Record(ANOMALIES.name, b"k", numbered(41), [], 0)
    batch = Batch("track", [record], {}, "")

    def handle(message: Any) -> None:
        codec.ANOMALY.decode(message.value())

    with pytest.raises(SchemaAway):
        batch.each(handle)
    assert batch.outputs == []
