"""Settings of the brokers that harm the pipeline are named, as far as they can be read."""

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors.kafka.cluster import Cluster
from streams import settings
from streams.admin import brokers, doctor
from streams.admin.brokers import Differences
from streams.admin.finding import note, ok, wrong

pytestmark = pytest.mark.kafka

_GOOD = {
    "group.min.session.timeout.ms": "6000",
    "offsets.retention.minutes": "50400",
    "offsets.topic.replication.factor": "3",
    "min.insync.replicas": "2",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
}


def configured(monkeypatch: pytest.MonkeyPatch, **changed: str) -> None:
    """Let every broker and topic have these settings, and Kafka's own topics not exist yet."""
    changes = {name.replace("_", "."): value for name, value in changed.items()}
    monkeypatch.setattr(brokers, "_INTERNAL", {f"{n}-not-yet": s for n, s in _INTERNAL.items()})
    monkeypatch.setattr(brokers, "_config", lambda *_: {**_GOOD, **changes})


_INTERNAL = dict(brokers._INTERNAL)


def test_i5_embedded_broker_has_the_settings(kafka: Cluster) -> None:
    assert brokers.check(kafka, 1) == Differences([], [])


def test_i5_settings_of_a_production_cluster_are_enough(
    kafka: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(monkeypatch)
    assert brokers.check(kafka, 3) == Differences([], [])


@pytest.mark.parametrize(
    ("setting", "value", "text"),
    [
        ("group_min_session_timeout_ms", "6001", "should be at most 6000: workers cannot join"),
        ("offsets_topic_replication_factor", "2", "should be at least 3"),
        ("min_insync_replicas", "1", "should be at least 2"),
        ("transaction_state_log_replication_factor", "1", "should be at least 3"),
        ("transaction_state_log_min_isr", "1", "should be at least 2"),
    ],
)
def test_i5_setting_that_loses_records_or_stops_workers_is_wrong(
    kafka: Cluster, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, text: str
) -> None:
    configured(monkeypatch, **{setting: value})
    (difference,), notes = brokers.check(kafka, 3)
    assert difference == f"broker 1: {setting.replace('_', '.')} is {value}, {text}"
    assert notes == []


def test_i5_short_retention_of_offsets_is_a_note(
    kafka: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(monkeypatch, offsets_retention_minutes="10080")
    differences = brokers.check(kafka, 3)
    assert differences.wrong == []
    assert "offsets.retention.minutes is 10080, should be at least 50400" in differences.notes[0]


REFUSED = KafkaException(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED, "not for you"))


@pytest.mark.parametrize(
    ("found", "finding"),
    [
        (
            Differences([], []),
            ok("broker settings", "sessions, offsets and Kafka's own topics as they should be"),
        ),
        (Differences([], ["a", "b"]), note("broker settings", "a; b")),
        (Differences(["w"], ["n"]), wrong("broker settings", "w; n")),
        (REFUSED, note("broker settings", "cannot be read: not for you")),
    ],
    ids=["ok", "note", "wrong", "no right"],
)
def test_i5_doctor_shows_the_settings(
    kafka: Cluster, monkeypatch: pytest.MonkeyPatch, found: Any, finding: object
) -> None:
    def check(*_: object) -> Differences:
        if isinstance(found, Exception):
            raise found
        return Differences(*found)

    monkeypatch.setattr(brokers, "check", check)
    loaded = settings.load(brokers=kafka.brokers, topic_prefix=kafka.prefix, partitions=2)
    assert doctor._broker_settings(loaded) == finding
