"""A stall with records waiting ends the worker, for a supervisor to restart it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.kafka import Cluster
from streams import child
from tests.chaos.system import ROOT
from tests.reading import write_all
from tests.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.alone]

_STALL_SECONDS = 4.0


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "worker.log"


@pytest.fixture
def worker(kafka: Cluster, tmp_path: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    given = [kafka.brokers, kafka.prefix, str(tmp_path), str(_STALL_SECONDS)]
    argv = [sys.executable, "-m", "tests.chaos.stalling", *given]
    process = child.spawn(argv, log, {"PYTHONPATH": str(ROOT)})
    yield process
    process.kill()
    process.wait()


def test_records_that_wait_and_never_move_end_the_worker_with_1(
    worker: subprocess.Popen[bytes], kafka: Cluster, log: Path
) -> None:
    write_all(kafka, "links", [(b"k", b"fine"), (b"k", b"stall")])
    assert worker.wait(90) == 1
    assert "ending for a restart" in log.read_text()


def test_a_worker_with_nothing_to_do_goes_on(
    worker: subprocess.Popen[bytes], kafka: Cluster, log: Path
) -> None:
    # What waits while it joins counts, too: on a slow machine that may take longer than a stall.
    until_sync(lambda: "partitions assigned" in log.read_text(), "the worker to join")
    write_all(kafka, "links", [(b"k%d" % n, b"fine") for n in range(100)])
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(4 * _STALL_SECONDS)
    write_all(kafka, "links", [(b"k", b"stall")])
    assert worker.wait(90) == 1
