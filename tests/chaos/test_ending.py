"""A worker that is told to end ends soon, also while the broker is away."""

import sys
import time
from pathlib import Path

import pytest

from connectors.kafka import Cluster
from connectors.registry import PROVIDERS
from schemas.topics import all_topics
from streams import admin, child
from streams.embedded import Broker
from tests.bench.processes import environment, serving
from tests.chaos.system import ENDING_SECONDS
from tests.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.alone]

_ASKED = 4.0


def test_a_worker_that_found_no_broker_ends_soon(tmp_path: Path) -> None:
    nobody = Cluster(f"127.0.0.1:{child.free_port()}")
    log = tmp_path / "log"
    told = environment(nobody, tmp_path) | {"LINKSTATUS_LOG_LEVEL": "INFO"}
    worker = child.spawn([sys.executable, "-m", "streams.cli", "work"], log, told)
    try:
        until_sync(lambda: "Connection refused" in log.read_text(), "the worker to try", 60)
        worker.terminate()
        # Its stages wait at the same time: four one after the other would take too long.
        assert worker.wait(ENDING_SECONDS) == 0
    finally:
        worker.kill()
        worker.wait()


def test_a_worker_ends_soon_while_the_broker_is_away(tmp_path: Path) -> None:
    broker = Broker(tmp_path, say=print)
    broker.start()
    try:
        cluster = Cluster(broker.brokers)
        admin.create(cluster, all_topics(PROVIDERS), partitions=2, replication=1)
        told = environment(cluster, tmp_path / "work")
        # The watchdog asks the broker every second.
        told |= {"LINKSTATUS_STALL_SECONDS": str(_ASKED), "LINKSTATUS_LOG_LEVEL": "INFO"}
        with serving(["-m", "streams.cli", "work"], told, tmp_path / "work"):
            broker.kill()
            log = tmp_path / "work" / "log"
            until_sync(lambda: "lag unknown" in log.read_text(), "the watchdog to miss it", 60)
            started = time.monotonic()
        took = time.monotonic() - started
        # A stage in a transaction is waited for, 8 s at most; the watchdog's question,
        # 10 s, is not.
        assert took < 10
        assert "Traceback" not in log.read_text()
    finally:
        broker.stop()
