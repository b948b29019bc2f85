"""Seeds of the simulation, in a process of their own: `python -m tests.simulation` repeats each."""

import os
import subprocess
import sys
from random import Random
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from tests.simulation.cluster import SimulatedKafka
from tests.simulation.direct_producer import DirectProducer
from tests.simulation.faults import Fault, RequestFaults
from tests.simulation.groups import Group
from tests.simulation.late_markers import LateMarkers
from tests.simulation.network import Disturbance
from tests.simulation.producer import SimulatedProducer
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.watch import allowed_standstill, unexplained
from tests.simulation.worker import FailedSession
from tests.support.documents import ROOT

_SEEDS = 100


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_seeds_find_nothing() -> None:
    run = simulate("--seeds", str(_SEEDS), "--jobs", "1")
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.startswith(f"{_SEEDS} seeds in ")


@pytest.mark.slow
def test_seed_repeats_exactly() -> None:
    """All that happens at the cluster, in its order and to the microsecond."""
    digest = "from tests.simulation.seed import run_seed; print(run_seed(7).history)"
    command, environment = [sys.executable, "-c", digest], {**os.environ, "PYTHONHASHSEED": "0"}
    first, second = (
        subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True).stdout
        for _ in range(2)
    )
    assert first == second != b""


_SHRUNK = """
import logging

from tests.simulation.faults import Fault
from tests.simulation.mutations import mutated
from tests.simulation.seed import run_seed
from tests.simulation.shrink import shrink

logging.disable(logging.CRITICAL)
registry = Fault(4.0, "registry", "w0", seconds=3.0)
others = [Fault(2.0, "compact"), Fault(3.0, "delete"), Fault(9.0, "compact")]
with mutated("go-on-after-a-failed-batch"):
    shortest = shrink(run_seed(1, [*others[:2], registry, others[2]]))
assert shortest.faults == [registry], shortest
assert shortest.problems.lost
"""


def test_failing_seed_is_shrunk_to_the_faults_that_matter() -> None:
    """With this fault in the engine, what a stage reads while its registry is away is lost. What
    killed processes leave open must not warn in other tests: it runs in a process of its own.
    """
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    subprocess.run([sys.executable, "-c", _SHRUNK], cwd=ROOT, env=environment, check=True)


def test_late_copy_of_a_commit_does_not_end_the_next_transaction() -> None:
    """Kafka itself excludes that only with an epoch for each transaction (KIP-890)."""
    kafka = SimulatedKafka(Scheduler(), Random(1))
    kafka.create(["t"], 1)
    process = Process(kafka.scheduler, "p")
    repeated = Disturbance()
    repeated.late_copy = True
    disturbances = {"EndTxn": repeated}
    kafka.network.disturb = lambda _, kind: disturbances.pop(kind, None)

    def write_twice() -> None:
        producer = SimulatedProducer(process, kafka, {"transactional.id": "x"})
        producer.init_transactions(10)
        for value, end in ((b"1", producer.commit_transaction), (b"2", producer.abort_transaction)):
            producer.begin_transaction()
            producer.produce("t", value, partition=0)
            producer.flush(10)
            process.thread.wait(4)
            end(10)

    process.spawn(write_twice)
    kafka.scheduler.run(60)
    assert [entry.record and entry.record.value for entry in kafka.log("t", 0).history()] == [b"1"]


def test_record_from_outside_waits_for_a_leader() -> None:
    kafka = SimulatedKafka(Scheduler(), Random(1))
    kafka.create(["t"], 1)
    kafka.lose_leaders(3.0)
    producer = DirectProducer(kafka, {})
    producer.produce("t", b"1", partition=0)
    assert kafka.log("t", 0).end == 0
    kafka.scheduler.run(4)
    assert [entry.record and entry.record.value for entry in kafka.log("t", 0).history()] == [b"1"]


def test_late_copy_of_an_init_explains_one_fenced_session_of_its_worker() -> None:
    """Seed 604: `at 4.994 s repeat w1 InitProducerId; at 18.706 s replace w1 for 0.200 s`."""
    fenced = KafkaException(KafkaError(KafkaError._FENCED))
    before, first, second = (FailedSession("w1", "w1.1.0", at, fenced) for at in (4.0, 24.7, 25.0))
    other = FailedSession("w0", "w0.0", 24.7, fenced)
    unfenced = FailedSession("w1", "w1.1.0", 24.7, ValueError())
    repeat = Fault(4.994, "repeat", "w1", "InitProducerId")
    sessions = [before, other, unfenced, first, second]
    assert list(unexplained(sessions, [repeat])) == [before, other, unfenced, second]


def test_member_that_waits_for_a_dead_leader_joins_again() -> None:
    """As in Kafka, its session does not end meanwhile. Seed 932: its sync had no answer."""
    scheduler, answers = Scheduler(), list[Any]()
    group = Group("g", scheduler)
    follower, leader = (group.new_member_id(name) for name in ("follower", "leader"))
    for member_id in (leader, follower, leader):
        group.join(member_id, member_id, b"", 6.0, lambda _: None)
    assert group.leader == leader
    scheduler.run(1.0)
    group.sync(follower, group.generation, None, answers.append)
    scheduler.run(8.0)
    (answer,) = answers
    assert answer.code == KafkaError.REBALANCE_IN_PROGRESS
    assert [*group.members] == [follower]


def test_member_with_a_dead_leader_of_the_same_age_is_answered() -> None:
    """Both sessions end at one time, in either order."""
    for first_to_join in ("follower", "leader"):
        scheduler, answers = Scheduler(), list[Any]()
        group = Group("g", scheduler)
        ids = {name: group.new_member_id(name) for name in ("follower", "leader")}
        for name in sorted(ids, key=lambda name: name != first_to_join):
            group.join(ids[name], name, b"", 6.0, lambda _: None)
        group.join(ids[first_to_join], first_to_join, b"", 6.0, lambda _: None)
        group.leader = ids["leader"]
        group.sync(ids["follower"], group.generation, None, answers.append)
        scheduler.run(6.5)
        assert len(answers) == 1
        assert [*group.members] == [ids["follower"]]


def test_standstill_that_a_fault_explains_is_no_problem() -> None:
    kill, end = Fault(2.0, "kill", "w0", seconds=1.0), Fault(3.0, "end", "w1", seconds=1.0)
    assert allowed_standstill([]) < allowed_standstill([end]) < allowed_standstill([kill])
    assert allowed_standstill([kill, end]) > allowed_standstill([kill])
    service = Fault(2.0, "stop", "settle", "", 9.0), Fault(2.0, "provider down", "ping", "", 9.0)
    assert allowed_standstill(service) == allowed_standstill([])


def test_zombie_goes_on_at_a_step_of_the_worker_that_takes_over() -> None:
    scheduler = Scheduler()
    names = "w0", "w1", "lookup"
    zombie, other, service = (Process(scheduler, name) for name in names)
    fault = Fault(0.0, "stop at", "w0", "EndTxn", 12.0, "OffsetFetch")
    faults = RequestFaults(scheduler, [fault], lambda _: None)
    faults.disturb(zombie, "EndTxn")
    requests = (service, "OffsetFetch"), (other, "OffsetFetch"), (other, "JoinGroup")
    for process, kind in requests:
        faults.disturb(process, kind)
        assert not zombie.is_running
    faults.disturb(other, "OffsetFetch")
    assert zombie.is_running


def test_late_marker_of_a_worker_is_that_of_its_first_transaction() -> None:
    scheduler = Scheduler()
    markers = LateMarkers(scheduler, "g")
    markers.add(Fault(1.0, "late marker", "topics", "", 15.0, worker="w0"))
    assert markers.seconds(("orders", 0), "g.w1.0") == 0
    assert markers.seconds(("group", "g"), "g.w0.0") == 0
    for target in (("orders", 0), ("link-status", 2)):
        assert markers.seconds(target, "g.w0.0") == 15
    scheduler.run(2.0)
    scheduler.later(1.0, lambda: None)
    scheduler.run(4.0)
    assert markers.seconds(("orders", 0), "g.w0.0") == 0
