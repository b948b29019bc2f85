"""Several edge processes: one is ready when all are, and their metrics are summed."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from connectors.receive.member import Member, Memory
from tests.support.processes import run

COUNTS = """
import sys
from connectors.receive.member import Member
Member("", int(sys.argv[1]), 2, (), 0).share_metrics()
from connectors.receive import callbacks, refusals
refusals.ANSWERED.labels("acme", "200").inc(int(sys.argv[2]))
callbacks._ACK_SECONDS.labels("acme").observe(0.003)
"""


@pytest.fixture
def memories(tmp_path: Path) -> Iterator[list[Memory]]:
    """The memory of two processes, as each of them maps it."""
    with (tmp_path / "memory").open("wb+") as file:
        yield [Memory.create(file.fileno(), 2), Memory(file.fileno(), 2)]


def test_edge_is_ready_when_every_process_is(memories: list[Memory]) -> None:
    first, second = memories
    assert first.why_not_ready() == "process 1 of 2: it does not run"
    first.report(1, None)
    assert first.why_not_ready() == "process 2 of 2: it does not run"
    second.report(2, "no connection to Kafka")
    reason = "process 2 of 2: no connection to Kafka"
    assert [one.why_not_ready() for one in memories] == [reason, reason]
    second.report(2, None)
    assert [one.why_not_ready() for one in memories] == [None, None]
    first.remove(2)
    assert second.why_not_ready() == "process 2 of 2: it does not run"


def test_frozen_process_is_not_ready(
    memories: list[Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, memory in enumerate(memories, 1):
        memory.report(number, None)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2.5)
    assert memories[0].why_not_ready() is None
    memories[0].report(1, None)
    monkeypatch.setattr(time, "monotonic", lambda: now + 3.5)
    assert memories[0].why_not_ready() == "process 2 of 2: it does not react"


def test_long_reason_is_cut(memories: list[Memory]) -> None:
    memories[0].report(1, "ü" * 1000)
    memories[1].report(2, None)
    assert (memories[1].why_not_ready() or "").count("ü") == 124


def test_processes_share_one_sender_key_and_their_counts(
    memories: list[Memory], tmp_path: Path
) -> None:
    first, second = memories
    assert first.key() == second.key()
    with (tmp_path / "another").open("wb+") as file:
        assert Memory.create(file.fileno(), 2).key() != first.key()
    assert first.shares(1).publish(0) is False
    assert second.shares(2).publish(1) is True
    assert first.shares(1).publish(1) is False


def test_metrics_are_the_sums_and_a_replaced_process_goes_on_counting(tmp_path: Path) -> None:
    for number, count in ((1, 2), (2, 3), (1, 4)):
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        run(sys.executable, "-c", COUNTS, str(number), str(count), env=environment)
    text = generate_latest(Member(str(tmp_path), 1, 2, (), 0).metrics()).decode()
    assert 'linkstatus_callbacks_total{answer="200",provider="acme"} 9.0' in text
    assert 'linkstatus_ack_seconds_count{provider="acme"} 3.0' in text
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {
        f"{kind}_{number}.db" for kind in ("counter", "histogram") for number in (1, 2)
    }


def test_member_passes_through_the_command_line(tmp_path: Path) -> None:
    given = Member(str(tmp_path), 2, 3, (4, 5), 6)
    assert Member.parse(given.text()) == given
