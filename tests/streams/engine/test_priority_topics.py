"""A worker that returns to a backlog handles registrations first."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Producer

from connectors.kafka.cluster import Cluster
from schemas.codec import LINK_STATUS
from schemas.records import LinkStatus
from tests.streams.rebuild.test_rebuild import NOW, callback, publish, registered
from tests.support.codecs import CODECS
from tests.support.ports import free_port
from tests.support.reading import read_all
from tests.support.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

_LINKS = 3_000


@pytest.mark.parametrize("aborted", [False, True], ids=["records", "aborted transaction"])
def test_registrations_in_a_backlog_are_handled_before_payments(
    kafka: Cluster, tmp_path: Path, aborted: bool
) -> None:
    names = [f"L{number}" for number in range(_LINKS)]
    publish(kafka, [callback(name, "completed", NOW + 60_000) for name in names])
    publish(kafka, [registered(name, f"O-{name}", NOW) for name in names])
    if aborted:
        abort(kafka)
    environment = {
        **os.environ,
        "LINKSTATUS_BROKERS": kafka.brokers,
        "LINKSTATUS_TOPIC_PREFIX": kafka.prefix,
        "LINKSTATUS_PARTITIONS": "2",
        "LINKSTATUS_DATA_DIR": str(tmp_path),
        "LINKSTATUS_HTTP__PORT": str(free_port()),
    }
    worker = subprocess.Popen([sys.executable, "-m", "streams.cli", "work"], env=environment)
    try:
        until_sync(lambda: len(paid(kafka)) == _LINKS, "all links to be paid", 60)
    finally:
        worker.terminate()
        worker.wait(20)
    rows = paid(kafka).values()
    assert Counter(row["order_id"].startswith("O-") for row in rows) == {True: _LINKS}


def paid(cluster: Cluster) -> dict[object, LinkStatus]:
    rows = {
        m.key(): CODECS.decode(LINK_STATUS, m.value()) for m in read_all(cluster, "link-status")
    }
    return {k: r for k, r in rows.items() if r["status"] == "PAID" and r["registration"]}


def abort(cluster: Cluster) -> None:
    """Leave offsets at the end of `links` that have no readable record."""
    producer = Producer({**cluster.librdkafka(), "transactional.id": f"{cluster.prefix}aborts"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for partition in (0, 1):
        producer.produce(cluster.topic("links"), b"x", b"x", partition)
    producer.flush(30)
    producer.abort_transaction(30)
