"""A stall while records wait ends the worker, so that a supervisor restarts it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.kafka.cluster import Cluster
from streams.local import subprocesses
from tests.support.documents import ROOT
from tests.support.reading import write_all
from tests.support.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.long]

_STALL_SECONDS = 4.0


@pytest.fixture
def worker(kafka: Cluster, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    arguments = [kafka.brokers, kafka.prefix, str(tmp_path), str(_STALL_SECONDS)]
    argv = [sys.executable, "-m", "tests.chaos.stalling_worker", *arguments]
    process = subprocesses.spawn(argv, tmp_path / "log", {"PYTHONPATH": str(ROOT)})
    yield process
    process.kill()
    process.wait()


def test_idle_worker_goes_on_and_one_whose_records_wait_exits_with_1(
    worker: subprocess.Popen[bytes], kafka: Cluster, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    # Records that wait while the worker joins count too, and a slow machine may take long to join.
    until_sync(lambda: "assigned, tables of" in log.read_text(), "the worker to join")
    write_all(kafka, "links", [(b"k%d" % n, b"fine") for n in range(100)])
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(4 * _STALL_SECONDS)
    write_all(kafka, "links", [(b"k", b"fine"), (b"k", b"stall")])
    assert worker.wait(90) == 1
    assert "exiting for a restart" in log.read_text()
