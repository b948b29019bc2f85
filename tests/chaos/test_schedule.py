"""Schedules repeat, and have every kind of fault; a standstill is that of the fault it follows."""

from itertools import pairwise
from typing import get_args

import pytest

from tests.chaos.gaps import InjectedFault, by_kind, gaps, merged, table
from tests.chaos.schedule import Fault, Kind, apart, schedule
from tests.support.documents import rows, section

KINDS = {name for part in get_args(Kind) for name in (get_args(part) or [part])}
# Of every seed.
ALWAYS = {"kill", "broker", "leave", "join", "slow", "down", "pause", "cut", "lag", "half-open"}


@pytest.mark.parametrize("brokers", [1, 3])
def test_five_seeds_have_every_kind_of_fault(brokers: int) -> None:
    for first in (1, 11, 28):
        schedules = [schedule(seed, brokers=brokers) for seed in range(first, first + 5)]
        kinds = [{fault.kind for fault in each.faults} for each in schedules]
        assert set[str]().union(*kinds) == KINDS
        assert all(each >= ALWAYS - {"kill"} for each in kinds)


def test_docs_describe_every_kind_of_fault() -> None:
    assert {kind for kind, _ in rows(section("docs/chaos.md", "## Faults"))[1:]} == KINDS


def test_seed_has_the_same_faults_again() -> None:
    assert schedule(7, brokers=3) == schedule(7, brokers=3)
    assert apart(7) == apart(7)
    assert schedule(7) != schedule(8)


def test_faults_that_come_apart_have_every_kind_and_do_not_overlap() -> None:
    faults = apart(1, brokers=3).faults
    assert {fault.kind for fault in faults} == KINDS
    for before, after in pairwise(faults):
        assert before.at + before.seconds < after.at


def test_standstill_counts_for_the_fault_that_it_begins_with() -> None:
    faults = [
        InjectedFault(10.0, Fault(0, "kill", "work-0")),
        InjectedFault(12.0, Fault(0, "slow", "ping", 3.0)),
        InjectedFault(20.0, Fault(0, "pause", "work-1", 4.0)),
    ]
    arrivals = {
        # Stands still from the kill to the end of the second fault, and in the pause.
        ("link-status", 0): [9.5, 15.5, 16.0, 17.0, 18.0, 19.0, 20.0, 23.0, 24.0, 25.0],
        ("link-status", 1): [float(second) for second in range(31)],
    }
    found = by_kind(gaps(arrivals, faults, 9.0, 30.0))
    assert found["kill"] == {"link-status/0": 5.5, "link-status/1": 1.0}
    assert found["slow"]["link-status/0"] == 1.0
    # The silence until the last callback is one.
    assert found["pause"] == {"link-status/0": 5.0, "link-status/1": 1.0}
    lines = [*table(merged([found, {"kill": {"links/3": 7.0}}]), {k: 1 for k in found})]
    assert lines[1].split() == ["kill", "1", "7.0", "s", "5.5", "s", "links/3"]
