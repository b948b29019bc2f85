"""Registrations and order updates of other programs are checked as POST /links checks a form."""

from typing import Any

import pytest

from connectors.kafka.partitioner import partition_of
from connectors.providers.ping import Ping, PingConfig
from schemas.codec import LINK_EVENT
from schemas.records import LinkRegistered, OrderUpdate
from schemas.topics import (
    DEAD_LETTERS,
    LINK_FACTS,
    LINKS,
    ORDER_EVENTS,
    ORDER_UPDATES,
    Topic,
    message_key,
)
from streams.agents.normalize import Normalize
from streams.agents.stages import stage_spec
from streams.engine.batch import Batch, Output
from streams.rebuild.in_memory import Record
from tests.support.codecs import CODECS

NOW = 1_767_225_600_000_000
LINK: LinkRegistered = {
    "provider": "ping",
    "link_id": "l1",
    "order_id": "o1",
    "amount_minor": 1234,
    "currency": "EUR",
    "expires_at": NOW,
    "links_in_order": 500,
    "registered_at": NOW,
}
UPDATE: OrderUpdate = {
    "provider": "ping",
    "order_id": "o1",
    "step": "CLOSED",
    "reason": None,
    "at": NOW,
}


def read(topic: Topic[Any], record: Any, *, at: int = NOW // 1000) -> Output:
    """Return what follows from a record that another program wrote."""
    key = message_key(record["provider"], record.get("link_id", "o1"))
    assert topic.schema
    value = CODECS.encode(topic.schema, record)
    message: Any = Record(topic.name, key, value, [], at, 1 - partition_of(key, 2))
    batch = Batch(stage_spec(CODECS, ["ping"]), [message], {}, "", 2)
    Normalize(CODECS, {"ping": Ping(PingConfig())}).handle(batch)
    (output,) = batch.outputs
    return output


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"registered_at": NOW * 1000}, "registered_at"),
        ({"registered_at": NOW // 1000}, "registered_at"),
        ({"registered_at": -1}, "registered_at"),
        ({"expires_at": NOW // 1000}, "expires_at"),
        ({"currency": "eur"}, "currency"),
        ({"currency": None}, "currency"),
        ({"amount_minor": -1}, "amount_minor"),
        ({"amount_minor": 10**18}, "amount_minor"),
        ({"links_in_order": 501}, "links_in_order"),
        ({"links_in_order": 0}, "links_in_order"),
        ({"link_id": ""}, "link_id"),
        ({"link_id": "a\nb"}, "link_id"),
        ({"link_id": ".."}, "link_id"),
        ({"link_id": "x" * 201}, "link_id"),
        ({"order_id": ""}, "order_id"),
        ({"provider": "unknown"}, "provider"),
    ],
)
def test_e1_registration_that_post_links_refuses_is_a_dead_letter(change: Any, reason: str) -> None:
    output = read(LINKS, LINK | change)
    assert output.topic == DEAD_LETTERS.name
    assert dict(output.headers or [])["reason"].decode().startswith(f"{reason}: ")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"link_id": "x" * 200},
        {"amount_minor": 0},
        {"amount_minor": None, "currency": None},
        {"links_in_order": 1},
        {"order_id": None, "expires_at": None, "links_in_order": None},
    ],
)
def test_e1_registration_within_the_limits_is_an_event(change: Any) -> None:
    assert read(LINKS, LINK | change).topic == LINK_FACTS.name


@pytest.mark.parametrize(
    ("at", "received_at"),
    [(NOW // 1000 + 5, NOW + 5000), (-1, NOW), (0, NOW), (NOW, NOW), (2**62, NOW)],
)
def test_e1_link_is_registered_when_kafka_got_the_record(at: int, received_at: int) -> None:
    event = CODECS.decode(LINK_EVENT, read(LINKS, LINK, at=at).value)
    assert event["received_at"] == received_at


@pytest.mark.parametrize(("ahead", "counts_from"), [(-1, NOW - 1), (0, NOW), (10**6, NOW)])
def test_clock_that_is_ahead_does_not_outrank_later_registrations(
    ahead: int, counts_from: int
) -> None:
    output = read(LINKS, LINK | {"registered_at": NOW + ahead})
    registration = CODECS.decode(LINK_EVENT, output.value)["registration"]
    assert registration
    assert registration["registered_at"] == counts_from


def test_registration_that_comes_back_is_an_event_of_its_own() -> None:
    """Consumers and the timeline drop events of a known id."""
    first, back, repeat = (
        CODECS.decode(LINK_EVENT, read(LINKS, LINK | {"registered_at": at}).value)["event_id"]
        for at in (NOW - 2, NOW - 1, NOW - 1)
    )
    assert first != back == repeat


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"order_id": ""}, "is no id"),
        ({"order_id": "a\0b"}, "is no id"),
        ({"provider": "unknown"}, "unknown provider"),
        ({"at": NOW * 1000}, "is not a time"),
        ({"at": NOW // 1000}, "is not a time"),
    ],
)
def test_e1_odd_order_update_is_a_dead_letter(change: Any, reason: str) -> None:
    output = read(ORDER_UPDATES, UPDATE | change)
    assert output.topic == DEAD_LETTERS.name
    assert reason in dict(output.headers or [])["reason"].decode()
    assert read(ORDER_UPDATES, UPDATE).topic == ORDER_EVENTS.name
