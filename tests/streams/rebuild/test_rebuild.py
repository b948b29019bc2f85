"""`linkstatus rebuild` replays the inputs in their order, and names every difference."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from schemas import codec, topics
from schemas.headers import headers_of
from schemas.records import LinkRegistered, OrderStatus
from streams.admin import topics as admin
from streams.cli.app import app
from streams.domain.polling import SECOND, Intervals
from streams.domain.rules import ProviderRules
from streams.rebuild import compare, history, rebuild
from streams.rebuild.history import History
from streams.rebuild.in_memory import Record
from tests.support.codecs import CODECS
from tests.support.reading import read_all, values, write_all

pytestmark = pytest.mark.kafka

RULES = {name: ProviderRules() for name in PROVIDERS}
INTERVALS = Intervals()
# An hour ago, in milliseconds: Kafka refuses records of the future and deletes old ones.
NOW = int(time.time() - 3600) * 1000
# In an hour, in microseconds: all records were written before.
LATER = (NOW + 7_200_000) * 1000


def publish(cluster: Cluster, records: Iterable[Record]) -> None:
    """Publish records with their own times."""
    failures: list[object] = []
    producer = Producer(sync_producer.settings(cluster))
    for record in records:
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


def answer(link_id: str, amount: str, at: int) -> Record:
    """Return the answer to a lookup of a paid link."""
    headers = [
        ("provider", b"peach"),
        ("source", b"lookup"),
        ("verified", b"1"),
        ("received-at", str(at).encode()),
        ("content-type", b"application/json"),
        ("lookup-link", link_id.encode()),
        ("lookup-reason", b"DETAILS"),
        ("lookup-status", b"200"),
        ("lookup-claim", b"PAID"),
    ]
    paid = f'{{"status": "completed", "amount": {amount}, "currency": "ZAR"}}'
    body = f'{{"payment": {{"id": "{link_id}", "payment": {paid}}}}}'.encode()
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
    value = CODECS.encode(codec.LINK_REGISTERED, link)
    return Record("links", f"peach:{link_id}".encode(), value, [], at)


def rebuilt(
    source: Cluster,
    prefix: str,
    rules: Mapping[str, ProviderRules] = RULES,
    intervals: Intervals = INTERVALS,
) -> Cluster:
    """Rebuild the source under another prefix."""
    target = replace(source, prefix=f"{source.prefix}{prefix}")
    admin.create(target, topics.all_topics(PROVIDERS), partitions=2, replication=1)
    providers = {name: kind(kind.Config()) for name, kind in PROVIDERS.items()}
    rebuild.Rebuild(source, target, CODECS, providers, rules, intervals).run(NOW * 1000)
    return target


def orders(cluster: Cluster) -> dict[str, OrderStatus]:
    rows = [CODECS.decode(codec.ORDER_STATUS, m.value()) for m in read_all(cluster, "orders")]
    return {row["order_id"]: row for row in rows}


def test_history_merges_topics_and_partitions_by_time(
    kafka: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With small buffers, partitions are paused and resumed many times.
    monkeypatch.setattr(history, "_FULL", 50)
    monkeypatch.setattr(history, "_LOW", 10)
    records = [callback(f"L{n % 17}", "opened", NOW + n) for n in range(3_000)]
    records += [registered(f"L{n}", "O", NOW + n) for n in range(300)]
    publish(kafka, records)
    merged = History(kafka, ["links", "callbacks.peach"])
    read = list(merged.read())
    assert (merged.total, merged.truncated) == (3_300, set())
    assert [r.at for r in read] == sorted(r.at for r in records)
    same_times = [r.topic_name for r in read[:600]]
    assert same_times == ["links", "callbacks.peach"] * 300


def test_only_a_registration_before_the_payment_names_the_order(kafka: Cluster) -> None:
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


def test_two_rebuilds_are_equal_byte_for_byte(kafka: Cluster) -> None:
    words = ("opened", "completed", "expired", "processing")
    publish(kafka, [callback(f"L{n % 20}", words[n % 3], NOW + n) for n in range(200)])
    publish(kafka, [registered(f"L{n}", f"O{n % 5}", NOW + 7 * n) for n in range(20)])
    first, second = rebuilt(kafka, "first."), rebuilt(kafka, "second.")
    for topic in ("link-events", "link-status", "orders", "order-close", "settlement", "anomalies"):
        contents = [sorted(content(each, topic)) for each in (first, second)]
        assert contents[0] == contents[1], topic
        assert contents[0], topic
    assert all(each.agrees for each in compare.compare(first, second, CODECS, LATER, None))


def test_g1_rebuild_agrees_whether_the_amount_came_with_the_close_or_later(
    kafka: Cluster,
) -> None:
    """A worker that was away waits longer than one that was not: both tell the same in the end."""
    records = [registered("L2", "O2", NOW - 200_001)]
    records += [callback(f"L{n}", "completed", NOW - 200_000) for n in (1, 2, 3)]
    records += [answer(f"L{n}", f"{n}.50", NOW - 100_000) for n in (1, 2)]
    publish(kafka, records)
    looking_up = dict.fromkeys(PROVIDERS, ProviderRules(can_look_up=True))
    impatient = rebuilt(kafka, "impatient.", looking_up, Intervals(details=60 * SECOND))
    patient = rebuilt(kafka, "patient.", looking_up, Intervals(details=150 * SECOND))
    totals = [
        {close["order_id"]: close["total_minor"] for close in values(each, topics.ORDER_CLOSE)}
        for each in (impatient, patient)
    ]
    assert totals == [{"L1": None, "O2": 500, "L3": None}, {"L1": 150, "O2": 250, "L3": None}]
    corrections = values(impatient, topics.ORDER_CORRECTIONS)
    assert {(c["order_id"], c["total_minor"], c["number"]) for c in corrections} == {
        *(("L1", 150, 1), ("O2", 250, 1)),
    }
    assert values(patient, topics.ORDER_CORRECTIONS) == []
    comparisons = compare.compare(impatient, patient, CODECS, LATER, None)
    assert [each.kind for each in comparisons if not each.agrees] == []
    assert sum(each.same for each in comparisons if each.kind in ("closes", "settlements")) == 6


def content(cluster: Cluster, topic: str) -> list[tuple[bytes | None, bytes | None]]:
    return [(m.key(), m.value()) for m in read_all(cluster, topic)]


def test_rebuild_copies_the_inputs_unchanged_and_sends_no_lookups(kafka: Cluster) -> None:
    publish(kafka, [callback("L1", "completed", NOW), callback("L1", "nonsense", NOW + 1)])
    target = rebuilt(kafka, "again.")
    before, after = read_all(kafka, "callbacks.peach"), read_all(target, "callbacks.peach")
    assert [(m.key(), m.value(), m.headers(), m.timestamp(), m.partition()) for m in after] == [
        (m.key(), m.value(), m.headers(), m.timestamp(), m.partition()) for m in before
    ]
    assert read_all(target, "lookups") == []
    (dead,) = read_all(target, "dead-letters")
    assert dict(headers_of(dead))["origin"] == f"callbacks.peach/{before[0].partition()}/1".encode()


def run(cluster: Cluster, tmp_path: Path, *arguments: str) -> Result:
    environment = {
        "LINKSTATUS_BROKERS": cluster.brokers,
        "LINKSTATUS_TOPIC_PREFIX": cluster.prefix,
        "LINKSTATUS_DATA_DIR": str(tmp_path),
    }
    return CliRunner().invoke(app, ["rebuild", *arguments], env=environment)


def test_command_names_a_difference_and_exits_with_1(kafka: Cluster, tmp_path: Path) -> None:
    publish(kafka, [registered("L1", "O1", NOW), callback("L1", "completed", NOW + 1)])
    model = rebuilt(kafka, "model.")
    for topic in ("link-events", "link-status", "orders", "order-close", "settlement", "anomalies"):
        write_all(kafka, topic, content(model, topic))
    assert run(kafka, tmp_path, f"{kafka.prefix}same.").exit_code == 0
    (row,) = orders(model).values()
    row["total_minor"] = 400
    tampered = CODECS.encode(codec.ORDER_STATUS, row)
    write_all(kafka, "orders", [(b"peach:O1", tampered)])
    close = CODECS.decode(codec.ORDER_CLOSE, read_all(model, "order-close")[0].value())
    close |= {"event_id": "forged", "order_id": "O2"}
    forged = CODECS.encode(codec.ORDER_CLOSE, close)
    write_all(kafka, "order-close", [(b"peach:O2", forged)])
    result = run(kafka, tmp_path, f"{kafka.prefix}other.")
    assert result.exit_code == 1
    assert "orders       0 the same; 1 different (peach:O1)" in result.stdout
    assert "closes       1 the same; 1 missing (peach:O2 forged)" in result.stdout
    lines = run(kafka, tmp_path, f"{kafka.prefix}json.", "--json").stdout.splitlines()
    comparisons = {each["kind"]: each for each in map(json.loads, lines)}
    assert comparisons["orders"]["different"] == ["peach:O1"]
    assert [kind for kind, each in comparisons.items() if not each["agrees"]] == [
        "orders",
        "closes",
    ]


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"payment_id": None}, False),
        ({"paid_at": 1}, False),
        ({"amount_minor": 499}, True),
        ({"link_id": "L2"}, True),
    ],
    ids=str,
)
def test_closes_may_differ_in_what_was_known_of_a_payment(
    kafka: Cluster, changes: dict[str, Any], differs: bool
) -> None:
    """The payment's facts and the link's facts come from two partitions, in either order."""
    publish(kafka, [registered("L1", "O1", NOW), callback("L1", "completed", NOW + 1)])
    model = rebuilt(kafka, "model.")
    (message,) = read_all(model, "order-close")
    close = CODECS.decode(codec.ORDER_CLOSE, message.value())
    close["decided_at"] += 1
    close["links"][0].update(changes)  # type: ignore[typeddict-item]
    other = CODECS.encode(codec.ORDER_CLOSE, close)
    write_all(kafka, "order-close", [(message.key(), other)])
    comparisons = {each.kind: each for each in compare.compare(kafka, model, CODECS, LATER, None)}
    assert comparisons["closes"].agrees is not differs


@pytest.mark.parametrize("is_confirmed", [True, False])
def test_expected_settlement_before_a_confirmed_one_is_no_difference(
    kafka: Cluster, is_confirmed: bool
) -> None:
    """An order whose details come after the settlement of its money is confirmed at once."""
    publish(kafka, [registered("L1", "O1", NOW), callback("L1", "completed", NOW + 1)])
    model = rebuilt(kafka, "model.")
    (message,) = read_all(model, "settlement")
    settlement = CODECS.decode(codec.SETTLEMENT, message.value())
    assert settlement["kind"] == "EXPECTED"
    settlement |= {"kind": "CONFIRMED", "event_id": "e"}
    confirmed = [(message.key(), CODECS.encode(codec.SETTLEMENT, settlement))]
    write_all(kafka, "settlement", confirmed)
    write_all(model, "settlement", confirmed if is_confirmed else [])
    comparisons = {each.kind: each for each in compare.compare(kafka, model, CODECS, LATER, None)}
    assert comparisons["settlements"].agrees is is_confirmed


def test_command_refuses_a_prefix_in_use(kafka: Cluster, tmp_path: Path) -> None:
    refused = run(kafka, tmp_path, kafka.prefix)
    assert refused.exit_code == 1
    assert "already" in str(refused.exception)


def test_record_older_than_the_kept_inputs_is_no_difference(kafka: Cluster) -> None:
    publish(kafka, [callback("L1", "completed", NOW), callback("L2", "completed", NOW + 10)])
    whole = rebuilt(kafka, "whole.")
    empty = replace(kafka, prefix=f"{kafka.prefix}empty.")
    admin.create(empty, topics.all_topics(PROVIDERS), partitions=2, replication=1)
    comparisons = compare.compare(whole, empty, CODECS, LATER, (NOW + 5) * 1000)
    (closes,) = (each for each in comparisons if each.kind == "closes")
    assert (closes.older, len(closes.missing)) == (1, 1)
    assert not closes.agrees


def test_record_changed_since_the_start_is_no_difference(kafka: Cluster) -> None:
    publish(kafka, [callback("L1", "completed", NOW), callback("L2", "completed", NOW)])
    model = rebuilt(kafka, "model.")
    for message in read_all(model, "link-status"):
        value = message.value() if message.key() == b"peach:L1" else None
        write_all(kafka, "link-status", [(message.key(), value)])
    written_at = max(m.timestamp()[1] for m in read_all(kafka, "link-status")) * 1000
    counts = []
    for now in (0, written_at, written_at + 1):
        links = compare.compare(kafka, model, CODECS, now, None)[0]
        counts.append((links.same, links.newer, links.added))
    assert counts == [(1, 1, []), (1, 1, []), (1, 0, ["peach:L2"])]
