"""The recorder sees what is committed, aborted and open, and decodes it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from schemas.codec import LINK_REGISTERED, Codecs
from schemas.topics import LINKS, SCHEMAS, callbacks
from tests.checker import history
from tests.checker.check import check
from tests.support.documents import ROOT
from tests.support.reading import write_all
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.kafka

_LINK: Any = {
    **{"provider": "ping", "link_id": "L1", "order_id": None, "amount_minor": 100},
    **{"currency": "SEK", "expires_at": None, "links_in_order": None, "registered_at": 5},
}
_TOPIC = callbacks("ping").name


def produce(cluster: Cluster, key: bytes, end: str) -> Producer:
    """Produce a record in a transaction, and end that as `end` says."""
    producer = Producer({**cluster.librdkafka(), "transactional.id": f"{cluster.prefix}{end}"})
    producer.init_transactions(PATIENCE)
    producer.begin_transaction()
    headers: Any = [("traceparent", b"00-" + key + b"-2-01"), ("broken", b"\xff")]
    producer.produce(cluster.topic(_TOPIC), b"\xfe body", key, partition=0, headers=headers)
    assert producer.flush(PATIENCE) == 0
    if end != "open":
        getattr(producer, f"{end}_transaction")(PATIENCE)
    return producer


def recorded(cluster: Cluster, *options: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.checker.record", "--brokers", cluster.brokers]
    run = subprocess.run(
        [*command, "--prefix", cluster.prefix, *options],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_outcomes_of_transactions(kafka: Cluster, tmp_path: Path) -> None:
    write_all(kafka, _TOPIC, [(b"outside", b"{}")])
    produce(kafka, b"committed", "commit")
    produce(kafka, b"aborted", "abort")
    open_one = produce(kafka, b"open", "open")
    more = tmp_path / "sent.jsonl"
    sent = {"type": "acknowledged", "topic": _TOPIC, "trace": "aborted", "body": "\xfe body"}
    more.write_text(json.dumps(sent) + "\n")
    lines = recorded(kafka, "--with", str(more))
    open_one.abort_transaction(PATIENCE)
    records = [line for line in lines if line["type"] == "record"]
    assert {line["key"]: line["outcome"] for line in records} == {
        **{"outside": "committed", "committed": "committed"},
        **{"aborted": "aborted", "open": "open"},
    }
    (whole,) = (line for line in records if line["key"] == "committed")
    assert whole["body"] == "\xfe body"
    assert whole["headers"]["broken"] == "\xff"
    assert lines[0] == sent
    starts = {line["start"] for line in lines if line["type"] == "partition"}
    assert starts == {0}
    (lost,) = (each for each in check(history.of(lines)) if each.lines == (1,))
    assert lost.kind == "lost"


@pytest.mark.parametrize("number", [LINK_REGISTERED.fingerprint, 7])
def test_values_are_decoded(kafka: Cluster, number: int) -> None:
    """A schema has the id that is derived from it, or one that the cluster notes."""
    write_all(kafka, SCHEMAS.name, [(b"7", LINK_REGISTERED.text.encode())])
    value = Codecs({"link_registered": number}).encode(LINK_REGISTERED, _LINK)
    producer = Producer(sync_producer.settings(kafka))
    for key, body in ((b"ping:L1", value), (b"ping:L1", b"no Avro"), (b"ping:L2", None)):
        producer.produce(kafka.topic(LINKS.name), body, key, partition=1)
    assert producer.flush(PATIENCE) == 0
    decoded, broken, deleted = (line for line in recorded(kafka) if line["type"] == "record")
    assert decoded["value"] == _LINK
    assert (broken["body"], "value" in broken) == ("no Avro", False)
    assert not {"value", "body"} & deleted.keys()
