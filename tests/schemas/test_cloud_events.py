"""Events carry the attributes of CloudEvents 1.0 as headers (binary mode of its Kafka binding)."""

from datetime import UTC, datetime
from typing import Any

import pytest

from schemas import codec
from schemas.cloud_events import event_headers
from schemas.codec import Schema
from schemas.headers import pairs
from schemas.topics import SHARED
from streams.domain.polling import Intervals
from streams.rebuild.in_memory import InMemoryPipeline, Record
from streams.settings import load
from streams.worker import rules
from tests.bench.workload import records
from tests.support.codecs import CODECS

AT = 1_767_225_600_000_042
REQUIRED = {"ce_id", "ce_source", "ce_specversion", "ce_type"}


def has_field(schema: Schema[Any], name: str) -> bool:
    return any(field["name"] == name for field in schema.json["fields"])


EVENTS = [schema for schema in codec.ALL if has_field(schema, "event_id")]


def headers(schema: Schema[Any], at: int = AT) -> dict[str, bytes]:
    times = dict.fromkeys(("decided_at", "received_at", "last_at", "at"), at)
    record = {"event_id": "e-1", **times}
    return dict(event_headers(schema, b"ping:O1", record))


@pytest.mark.parametrize("schema", EVENTS, ids=repr)
def test_event_has_the_attributes_and_one_id(schema: Schema[Any]) -> None:
    found = headers(schema)
    assert found["ce_id"] == found["event-id"] == b"e-1"
    assert found["ce_subject"] == b"ping:O1"
    assert found["ce_type"].decode() == f"linkstatus.{schema.json['name']}"
    assert found["ce_specversion"] == b"1.0"
    assert found["content-type"] == b"application/vnd.confluent.avro"
    # The specification demands no empty attribute.
    assert all(found.values())


@pytest.mark.parametrize("micros", [0, AT, AT + 999_958, 253_402_300_799_999_000])
def test_time_is_rfc_3339(micros: int) -> None:
    text = headers(codec.ORDER_CLOSE, micros)["ce_time"].decode()
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == datetime.fromtimestamp(micros // 1_000_000, UTC).replace(
        microsecond=micros % 1_000_000
    )


def test_each_event_of_the_worker_has_them_and_no_state() -> None:
    settings = load()
    providers = settings.existing_providers()
    pipeline = InMemoryPipeline(CODECS, providers, rules(settings, providers), Intervals())
    first = [
        Record(one.topic, one.key, one.value, pairs(one.headers), AT // 1000, 0, number)
        for number, one in enumerate(records(40))
    ]
    schemas = {topic.name: topic.schema for topic in SHARED}
    events = set()
    for output in (output for one in first for output in pipeline.process(one)):
        schema, carried = schemas[output.topic], dict(output.headers or ())
        is_event = schema is not None and has_field(schema, "event_id")
        assert is_event == (carried.keys() >= REQUIRED), output
        if schema is not None and is_event:
            events.add(output.topic)
            record: Any = CODECS.decode(schema, output.value)
            assert carried["ce_id"].decode() == record["event_id"]
            assert carried["ce_subject"] == output.key
    assert {"link-events", "order-close", "settlement"} <= events
