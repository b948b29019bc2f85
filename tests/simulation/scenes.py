"""Scenes: a few faults, one after another, that harm only together, at a change of hands.

By chance alone such faults seldom meet.
"""

from collections.abc import Callable, Iterable
from random import Random

from tests.simulation.faults import FIRST_AT, LAST_AT, OTHER_WORKER, TOPICS, WORKERS, Fault
from tests.simulation.transactions import GROUP

# The requests of a transaction, without its end.
OF_TRANSACTION = (
    *("TxnOffsetCommit", "AddOffsetsToTxn", "AddPartitionsToTxn"),
    *("Produce link-status", "Produce orders"),
)
# Where a worker leaves a transaction that it may end as a zombie.
_LEFT_AT = (*OF_TRANSACTION, "EndTxn")
# Steps of the worker that has taken over.
_GOES_ON_AT = ("OffsetFetch", "OffsetFetch", "Fetch rows", "TxnOffsetCommit", "EndTxn")
# Registrations are there by then.
_FIRST_SECONDS = 4.0


def _zombie(random: Random, at: float) -> Iterable[Fault]:
    """A worker stands still until the group drops it, and goes on with its transaction."""
    name, request = random.choice(WORKERS), random.choice(_LEFT_AT)
    if random.random() < 0.3:
        yield Fault(at, "stop at", name, request, random.choice((7.0, 12.0)))
    else:
        yield Fault(at, "stop at", name, request, 12.0, random.choice(_GOES_ON_AT))


def _late_rows(random: Random, at: float) -> Iterable[Fault]:
    """A worker stands still between the offsets and the rows of a transaction. It commits both just
    when another one takes over.
    """
    request = random.choice(("Produce link-status", "Produce link-status", "Produce orders"))
    yield Fault(at, "stop at", random.choice(WORKERS), request, 12.0, "OffsetFetch")


def _late_marker(random: Random, at: float) -> Iterable[Fault]:
    """A partition changes hands while its topics do not know the end of its last transaction."""
    name = random.choice(WORKERS)
    target = random.choice((TOPICS, TOPICS, TOPICS, "link-status", "orders", GROUP))
    if random.random() < 0.3:
        # The worker lives. It waits for the marker too, but only before its next transaction.
        yield Fault(at, "late marker", target, "", random.choice((1.0, 3.0)), worker=name)
        yield _change_of_hands(random, at, 0.5)
    else:
        yield Fault(at, "late marker", target, "", random.choice((15.0, 45.0)), worker=name)
        yield Fault(at, "kill after", name, "EndTxn", random.choice((4.0, 9.0)))


def _slow_batch(random: Random, at: float) -> Iterable[Fault]:
    """A partition changes hands while a worker has many records, and takes long for each batch."""
    for name in WORKERS:
        yield Fault(at, "slow", name, "", 8.0)
    for _ in range(3):
        yield _change_of_hands(random, at, 8.0)


def _new_leader(random: Random, _: float) -> Iterable[Fault]:
    """The workers begin after the first registrations. Of what they write, each partition gets
    several records at once, just before it gets a leader.
    """
    for name in WORKERS:
        yield Fault(0.02, "kill", name, "", _FIRST_SECONDS)
    yield Fault(_within(random, _FIRST_SECONDS, 0.3), "no leader", "", "", 3.0)


def _stuck(random: Random, at: float) -> Iterable[Fault]:
    """The group's coordinator does not take the offsets of a batch in time."""
    request = random.choice(("TxnOffsetCommit", "AddOffsetsToTxn"))
    yield Fault(at, "stop at", random.choice(WORKERS), request, random.choice((3.0, 5.0)))


def _change_of_hands(random: Random, at: float, seconds: float) -> Fault:
    at = _within(random, at, seconds)
    if random.random() < 0.5:
        return Fault(at, "join", OTHER_WORKER, "", random.choice((4.0, 9.0)))
    return Fault(at, "end", random.choice(WORKERS), "", random.choice((0.2, 1.0, 9.0)))


def _within(random: Random, at: float, seconds: float) -> float:
    return round(at + seconds * random.random(), 3)


_SCENES: tuple[Callable[[Random, float], Iterable[Fault]], ...] = (
    *(_zombie, _zombie, _late_marker, _late_marker),
    *(_late_rows, _slow_batch, _new_leader, _stuck),
)


def scene(random: Random) -> list[Fault]:
    at = round(random.uniform(FIRST_AT, LAST_AT - 4), 3)
    return [*random.choice(_SCENES)(random, at)]
