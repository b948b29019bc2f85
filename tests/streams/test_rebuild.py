"""`linkstatus rebuild`: everything that came in, in its order, once more; differences are named."""

import json
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from connectors import producing
from connectors.kafka import Cluster
from connectors.registry import PROVIDERS
from schemas import codec, topics
from schemas.records import LinkRegistered, OrderStatus
from streams import admin, chronicle, cli, rebuild
from streams.chronicle import Chronicle
from streams.domain.polling import Intervals
from streams.domain.rules import ProviderRules
from streams.engine.batch import headers_of
from streams.serial import Record
from tests.reading import read_all, write_all

pytestmark = pytest.mark.kafka

RULES = {name: ProviderRules() for name in PROVIDERS}
# An hour ago, in milliseconds: Kafka takes no record from the future and keeps none for ever.
NOW = int(time.time() - 3600) * 1000


def publish(cluster: Cluster, came_in: Iterable[Record]) -> None:
    """Records with times of their own."""
    failures: list[object] = []
    producer = Producer(producing.settings(cluster))
    for record in came_in:
        producer.produce(
            cluster.topic(record.topic_name),
            record.value_bytes,
            record.key_bytes,
            timestamp=record.at,
            headers=list(record.header_list),
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
    assert producer.flush(30) == 0
    assert failures == []


def callback(link_id: str, word: str, at: int) -> Record:
    headers = [
        ("provider", b"peach"),
        ("source", b"callback"),
        ("verified", b"1"),
        ("received-at", str(at).encode()),
        ("content-type", b"application/json"),
    ]
    body = f'{{"paymentId":"{link_id}","status":"{word}"}}'.encode()
    return Record("callbacks.peach", f"peach:{link_id}".encode(), body, headers, at)


def registered(link_id: str, order_id: str, at: int) -> Record:
    link: LinkRegistered = {
        "provider": "peach",
        "link_id": link_id,
        "order_id": order_id,
        "amount_minor": 500,
        "currency": "ZAR",
        "expires_at": None,
        "links_in_order": None,
        "registered_at": at * 1000,
    }
    value = codec.LINK_REGISTERED.encode(link)
    return Record("links", f"peach:{link_id}".encode(), value, [], at)


def rebuilt(source: Cluster, prefix: str) -> Cluster:
    """The source's records once more, under another prefix."""
    target = replace(source, prefix=f"{source.prefix}{prefix}")
    admin.create(target, topics.all_topics(PROVIDERS), partitions=2, replication=1)
    providers = {name: kind(kind.Config()) for name, kind in PROVIDERS.items()}
    rebuild.Rebuild(source, target, providers, RULES, Intervals()).run(NOW * 1000)
    return target


def orders(cluster: Cluster) -> dict[str, OrderStatus]:
    rows = [codec.ORDER_STATUS.decode(m.value()) for m in read_all(cluster, "orders")]
    return {row["order_id"]: row for row in rows}


def test_records_come_by_their_time_across_topics_and_partitions(
    kafka: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Partitions are paused and resumed many times on the way.
    monkeypatch.setattr(chronicle, "_FULL", 50)
    monkeypatch.setattr(chronicle, "_LOW", 10)
    came_in = [callback(f"L{n % 17}", "opened", NOW + n) for n in range(3_000)]
    came_in += [registered(f"L{n}", "O", NOW + n) for n in range(300)]
    publish(kafka, came_in)
    told = Chronicle(kafka, ["links", "callbacks.peach"])
    found = list(told.read())
    assert (told.total, told.cut) == (3_300, set())
    assert [r.at for r in found] == sorted(r.at for r in came_in)
    same_moment = [r.topic_name for r in found[:600]]
    assert same_moment == ["links", "callbacks.peach"] * 300


def test_arrival_decides_as_it_did_and_not_the_place_in_kafka(kafka: Cluster) -> None:
    """A registration that came before the payment counts; one that came after does not."""
    publish(
        kafka,
        [
            callback("L1", "completed", NOW + 2),
            registered("L1", "before", NOW + 1),
            registered("L2", "after", NOW + 4),
            callback("L2", "completed", NOW + 3),
        ],
    )
    rows = orders(rebuilt(kafka, "again."))
    assert {order_id: bool(row["decided_at"]) for order_id, row in rows.items()} == {
        "before": True,
        "L2": True,
    }


def test_twice_the_same_byte_for_byte(kafka: Cluster) -> None:
    words = ("opened", "completed", "expired", "processing")
    publish(kafka, [callback(f"L{n % 20}", words[n % 3], NOW + n) for n in range(200)])
    publish(kafka, [registered(f"L{n}", f"O{n % 5}", NOW + 7 * n) for n in range(20)])
    first, second = rebuilt(kafka, "first."), rebuilt(kafka, "second.")
    for topic in ("link-events", "link-status", "orders", "order-close", "settlement", "anomalies"):
        contents = [sorted(content(each, topic)) for each in (first, second)]
        assert contents[0] == contents[1], topic
        assert contents[0], topic
    assert all(found.agrees for found in rebuild.compare(first, second, None))


def content(cluster: Cluster, topic: str) -> list[tuple[bytes | None, bytes | None]]:
    return [(m.key(), m.value()) for m in read_all(cluster, topic)]


def test_what_came_in_is_copied_as_it_was_and_nothing_is_asked_again(kafka: Cluster) -> None:
    publish(kafka, [callback("L1", "completed", NOW), callback("L1", "nonsense", NOW + 1)])
    target = rebuilt(kafka, "again.")
    before, after = read_all(kafka, "callbacks.peach"), read_all(target, "callbacks.peach")
    assert [(m.key(), m.value(), m.headers(), m.timestamp(), m.partition()) for m in after] == [
        (m.key(), m.value(), m.headers(), m.timestamp(), m.partition()) for m in before
    ]
    assert read_all(target, "lookups") == []
    (dead,) = read_all(target, "dead-letters")
    assert dict(headers_of(dead))["origin"] == f"callbacks.peach/{before[0].partition()}/1".encode()


def test_an_answer_about_an_id_in_any_letters_is_of_that_link(kafka: Cluster) -> None:
    """It was of another, whose id was that one's bytes read as Latin-1."""
    key = "ping:שלום-ø🎉".encode()
    headers = [
        *(("provider", b"ping"), ("source", b"lookup"), ("verified", b"1")),
        *(("received-at", str(NOW).encode()), ("lookup-link", key.removeprefix(b"ping:"))),
        *(("lookup-status", b"404"), ("lookup-claim", b"PAID"), ("lookup-final", b"1")),
    ]
    publish(kafka, [Record("callbacks.ping", key, b"", headers, NOW)])
    target = rebuilt(kafka, "letters.")
    (row,) = read_all(target, "link-status")
    assert row.key() == key
    assert codec.LINK_STATUS.decode(row.value())["anomalies"] == ["CLAIM_DENIED"]


def run(cluster: Cluster, tmp_path: Path, *arguments: str) -> Result:
    environment = {
        "LINKSTATUS_BROKERS": cluster.brokers,
        "LINKSTATUS_TOPIC_PREFIX": cluster.prefix,
        "LINKSTATUS_DATA_DIR": str(tmp_path),
    }
    return CliRunner().invoke(cli.app, ["rebuild", *arguments], env=environment)


def test_a_difference_is_named_and_ends_the_command_with_1(kafka: Cluster, tmp_path: Path) -> None:
    publish(kafka, [registered("L1", "O1", NOW), callback("L1", "completed", NOW + 1)])
    model = rebuilt(kafka, "model.")
    for topic in ("link-events", "link-status", "orders", "order-close", "settlement", "anomalies"):
        write_all(kafka, topic, content(model, topic))
    assert run(kafka, tmp_path, f"{kafka.prefix}same.").exit_code == 0
    (row,) = orders(model).values()
    tampered = codec.ORDER_STATUS.encode({**row, "total_minor": 400})
    write_all(kafka, "orders", [(b"peach:O1", tampered)])
    close = codec.ORDER_CLOSE.decode(read_all(model, "order-close")[0].value())
    forged = codec.ORDER_CLOSE.encode({**close, "event_id": "forged", "order_id": "O2"})
    write_all(kafka, "order-close", [(b"peach:O2", forged)])
    found = run(kafka, tmp_path, f"{kafka.prefix}other.")
    assert found.exit_code == 1
    told = [
        json.loads(line)
        for line in run(kafka, tmp_path, f"{kafka.prefix}json.", "--json").stdout.splitlines()
    ]
    assert {one["what"]: one["different"] for one in told}["orders"] == ["peach:O1"]
    assert [one["what"] for one in told if not one["agrees"]] == ["orders", "closes"]
    assert "orders       0 the same; 1 different (peach:O1)" in found.stdout
    assert "closes       1 the same; 1 missing (peach:O2 forged)" in found.stdout


def test_a_prefix_in_use_is_refused(kafka: Cluster, tmp_path: Path) -> None:
    refused = run(kafka, tmp_path, kafka.prefix)
    assert refused.exit_code == 1
    assert "already" in str(refused.exception)


def test_what_is_older_than_what_is_kept_is_no_difference(kafka: Cluster) -> None:
    publish(kafka, [callback("L1", "completed", NOW), callback("L2", "completed", NOW + 10)])
    whole = rebuilt(kafka, "whole.")
    empty = replace(kafka, prefix=f"{kafka.prefix}empty.")
    admin.create(empty, topics.all_topics(PROVIDERS), partitions=2, replication=1)
    found = {one.what: one for one in rebuild.compare(whole, empty, (NOW + 5) * 1000)}
    assert (found["closes"].older, len(found["closes"].missing)) == (1, 1)
    assert not found["closes"].agrees
