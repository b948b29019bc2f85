"""A worker stops soon after its stop signal, also while the broker is away."""

import time
from pathlib import Path

import pytest

from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from schemas.topics import all_topics
from streams.admin import topics
from streams.local.broker import Broker
from tests.chaos.system import STOP_SECONDS
from tests.support.ports import free_port
from tests.support.processes import environment, running, spawn
from tests.support.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.alone]


def test_worker_without_a_broker_stops_soon(tmp_path: Path) -> None:
    absent = Cluster(f"127.0.0.1:{free_port()}")
    log = tmp_path / "log"
    worker = spawn("work", log, environment(absent, tmp_path))
    try:
        until_sync(lambda: "Connection refused" in log.read_text(), "the worker to try", 60)
        worker.terminate()
        # The four stages stop at the same time: one after another they would take too long.
        assert worker.wait(STOP_SECONDS) == 0
    finally:
        worker.kill()
        worker.wait()


def test_worker_stops_soon_while_the_broker_is_away(tmp_path: Path) -> None:
    broker = Broker(tmp_path, say=print)
    broker.start()
    try:
        cluster, log = Cluster(broker.brokers), tmp_path / "log"
        topics.create(cluster, all_topics(PROVIDERS), partitions=2, replication=1)
        # The watchdog asks the broker every second.
        settings = environment(cluster, tmp_path, STALL_SECONDS="4.0")
        with running(["-m", "streams.cli", "work"], log, settings):
            broker.kill()
            until_sync(lambda: "lag unknown" in log.read_text(), "the watchdog to notice", 60)
            started = time.monotonic()
        # A stage in a transaction may take 8 s. The watchdog's question, 10 s, is abandoned.
        assert time.monotonic() - started < 10
        assert "Traceback" not in log.read_text()
    finally:
        broker.stop()
