"""`linkstatus tail`: decoded records, one a line."""

import base64

import pytest
from confluent_kafka import Producer

from connectors.kafka.cluster import Cluster
from schemas.codec import LINK_REGISTERED
from schemas.records import LinkRegistered
from tests.support.codecs import CODECS
from tests.support.reading import write_all
from tests.support.shell import Shell

pytestmark = pytest.mark.kafka

WHOLE = ("--from-beginning", "--exit-at-end")


def test_record_is_decoded(linkstatus: Shell, kafka: Cluster) -> None:
    registered: LinkRegistered = {
        "provider": "ping",
        "link_id": "l-1",
        "order_id": None,
        "amount_minor": 1234,
        "currency": "SEK",
        "expires_at": None,
        "links_in_order": None,
        "registered_at": 1_700_000_000_000_000,
    }
    value = CODECS.encode(LINK_REGISTERED, registered)
    write_all(kafka, "links", [(b"ping:l-1", value)], headers=[("event-id", b"e-1")])
    record = linkstatus.json("tail", "links", *WHOLE)
    assert record["topic"] == kafka.topic("links")
    assert (record["offset"], record["key"]) == (0, "ping:l-1")
    assert record["headers"] == {"event-id": "e-1"}
    assert record["value"]["amount_minor"] == 1234


def test_raw_bytes_are_shown_as_text_or_base64(linkstatus: Shell, kafka: Cluster) -> None:
    bodies = (b'{"a": 1}', b"\xff\xfe", "plain \u2713".encode())
    write_all(kafka, "callbacks.ping", [(b"k", body) for body in bodies])
    text, binary, plain = (
        row["value"] for row in linkstatus.rows("tail", "callbacks.ping", *WHOLE)
    )
    assert (text, plain) == ('{"a": 1}', "plain \u2713")
    assert base64.b64decode(binary.removeprefix("base64:")) == b"\xff\xfe"


def test_aborted_records_are_left_out(linkstatus: Shell, kafka: Cluster) -> None:
    write_all(kafka, "link-events", [(b"k", b"kept")])
    producer = Producer({**kafka.librdkafka(), "transactional.id": f"{kafka.prefix}test"})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(kafka.topic("link-events"), b"aborted", b"k")
    producer.flush(10)
    producer.abort_transaction()
    out = linkstatus.ok("tail", "link-events", *WHOLE)
    assert "kept" in out
    assert "aborted" not in out


def test_control_characters_are_escaped_for_people(linkstatus: Shell, kafka: Cluster) -> None:
    bodies = (b"\x1b[2J\x9bgone", "\x1b[2J\x9bgone".encode())
    write_all(kafka, "callbacks.ping", [(b"k", body) for body in bodies])
    out = linkstatus.ok("tail", "callbacks.ping", *WHOLE)
    assert all(character.isprintable() or character == "\n" for character in out)


def test_missing_topic_lists_the_existing_ones(linkstatus: Shell) -> None:
    ran = linkstatus.run("tail", "link-state", "--exit-at-end")
    assert (ran.code, "link-status" in ran.err) == (1, True)
